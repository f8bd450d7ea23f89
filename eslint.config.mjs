import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  { ignores: ["dist/", "node_modules/", ".venv/", "tests/"] },
  js.configs.recommended,
  {
    files: ["extension/**/*.ts"],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: {
      parserOptions: { project: "extension/tsconfig.json", tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      "@typescript-eslint/no-explicit-any": "error",
      "@typescript-eslint/explicit-module-boundary-types": "error",
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true }],
      eqeqeq: "error",
      "no-console": "error",
    },
  },
  {
    files: ["extension/test/**/*.ts"],
    rules: {
      // node:test hands back a promise for every test that it awaits itself.
      "@typescript-eslint/no-floating-promises": "off",
      // The fake editor's functions are typed by what they stand for.
      "@typescript-eslint/explicit-module-boundary-types": "off",
    },
  },
  {
    files: ["extension/**/*.mjs", "extension/**/*.cjs"],
    languageOptions: { globals: { process: "readonly", require: "readonly", module: "writable", __dirname: "readonly" } },
  },
);
