// The fonts of the system: the theme's own would make the site twice as large.
export { default } from 'vitepress/theme-without-fonts'
