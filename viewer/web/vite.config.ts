import { defineConfig } from "vite";

// Assets stay files of their own (no data: addresses, no inline script), so `default-src 'self'` is all the page needs.
export default defineConfig({
  base: "./",
  build: { outDir: "dist", assetsInlineLimit: 0, modulePreload: { polyfill: false }, target: "es2022", chunkSizeWarningLimit: 900 },
});
