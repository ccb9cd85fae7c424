import { defineConfig } from 'vite'

/** Builds the page into dist/: one script and one style sheet. Nothing is inline, so a strict content security policy works. */
export default defineConfig({
  root: import.meta.dirname,
  // Relative, because a proxy may serve Sluice below another path.
  base: './',
  // The page must not depend on the NODE_ENV of the shell or a test runner: another value would bundle development code.
  mode: 'production',
  define: { 'process.env.NODE_ENV': '"production"' },
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact', development: false } },
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: false,
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    reportCompressedSize: false,
  },
})
