# One image for every role: docker run sluice (all, with its own Redis), … sluice api, … sluice worker. It holds the npm package.

FROM node:24-slim AS package
WORKDIR /app
COPY package.json package-lock.json ./
# The bundler's native part is an optional package.
RUN npm ci --ignore-scripts --no-audit --no-fund
# .dockerignore lets nothing but the program and what packs it through.
COPY . .
RUN node scripts/package.ts --out /package
WORKDIR /installed
# Of what the package needs, a native part of msgpackr is optional: it does without.
RUN npm install --omit=optional --ignore-scripts --no-audit --no-fund /package/sluice-*.tgz

FROM node:24-slim
# For the role `all` without REDIS_URL. Where Redis runs elsewhere it is never started.
RUN apt-get update \
    && apt-get install -y --no-install-recommends redis-server \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY --from=package /installed/node_modules ./node_modules
# The one place that is written to: the data of that Redis, and results that a Redis did not take. Everything else may be mounted read-only.
RUN mkdir .sluice && chown node:node .sluice
VOLUME /app/.sluice
# No shell and no package manager is left for an intruder: the program starts neither. Of the base image's entrypoint,
# which is a shell script, nothing is needed: commands name node themselves.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
    /usr/local/bin/yarn* /opt/yarn* /usr/local/bin/docker-entrypoint.sh \
    /usr/bin/apt* /usr/bin/dpkg* /usr/bin/perl* /bin/bash /bin/dash /bin/sh
ENTRYPOINT []
USER node
# A host beyond loopback is refused unless the configuration names tenants with keys.
# As scripts/bootstrap.mjs has it, which says why.
ENV NODE_OPTIONS=--max-semi-space-size=16 MALLOC_ARENA_MAX=2 MALLOC_TRIM_THRESHOLD_=131072
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 SLUICE_CONFIG=/etc/sluice/sluice.yaml
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "node_modules/sluice/main.js", "all"]
