// Bundles the extension into dist/extension.js; `--production` minifies, `--watch` rebuilds on change.
import { context } from "esbuild";

const production = process.argv.includes("--production");

const bundle = await context({
  entryPoints: ["extension/src/extension.ts"],
  outfile: "dist/extension.js",
  bundle: true,
  platform: "node",
  format: "cjs",
  target: "node20",
  // The editor provides this module; it is on no registry.
  external: ["vscode"],
  minify: production,
  sourcemap: production ? false : "linked",
  logLevel: "warning",
});

if (process.argv.includes("--watch")) {
  await bundle.watch();
} else {
  await bundle.rebuild();
  await bundle.dispose();
}
