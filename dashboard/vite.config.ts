import { defineConfig } from 'vite'

/** Builds the page into dist/, whole and small: one script, one style sheet, nothing inline, so that a strict policy holds. */
export default defineConfig({
  root: import.meta.dirname,
  // Relative, for whoever serves the house below a path of another.
  base: './',
  // The same page whatever NODE_ENV the shell or a test runner has: another one would bring in what helps developers.
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
