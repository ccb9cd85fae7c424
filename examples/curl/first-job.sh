#!/bin/sh
# Submits a chat, waits for the answer, and shows which calls were made for it.
#
#   sh examples/curl/first-job.sh "Why is the sky blue?"
set -eu

url=${SLUICE_URL:-http://127.0.0.1:8080}
model=${SLUICE_MODEL:-sim/chat-small}
question=${1:-Why is the sky blue?}

call() {
  curl --silent --show-error --fail-with-body ${SLUICE_KEY:+--header "authorization: Bearer $SLUICE_KEY"} "$@"
}

# 202 and a Location: from here on the job is safe, whatever becomes of this script.
location=$(
  call --dump-header - --output /dev/null "$url/v1/jobs" \
    --header 'content-type: application/json' \
    --data "{\"type\":\"chat\",\"body\":{\"model\":\"$model\",\"messages\":[{\"role\":\"user\",\"content\":\"$question\"}]}}" |
    tr -d '\r' | sed -n 's/^location: //p'
)
echo "$location"

# Holds until the job has ended, for 60 seconds at the most.
call "$url$location?wait=60"
echo
call "$url$location/attempts"
echo
