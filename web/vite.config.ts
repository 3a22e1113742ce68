import { defineConfig } from "vitest/config";

// Two bundles from one source: every edge serves the watch and studio pages, control serves the console.
// Neither asks another host for anything, so an edge on a closed network still has its pages.
export default defineConfig(({ mode }) => {
  const control = mode === "control";
  return {
    base: "/",
    publicDir: false,
    build: {
      target: "es2023",
      // The first versions with `light-dark()`, which must reach the browser as it is: rewritten for older ones, colours
      // would be chosen once for the whole page, and the stage is dark in a light page.
      cssTarget: ["chrome123", "edge123", "firefox120", "safari17.5"],
      outDir: control ? "../control/static" : "../edge/static",
      emptyOutDir: true,
      assetsInlineLimit: 4096,
      reportCompressedSize: false,
      rollupOptions: {
        input: control ? ["console.html"] : ["watch.html", "studio.html"],
      },
    },
    test: { include: ["src/**/*.test.ts"], environment: "node" },
  };
});
