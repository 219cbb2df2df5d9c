import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import reactHooks from "eslint-plugin-react-hooks";
import globals from "globals";
import tseslint from "typescript-eslint";

/** Folders of src/ in the one direction of dependencies, each with what it may import. */
const layers = {
  gen: [],
  api: ["gen"],
  ui: [],
  wire: ["gen"],
  session: ["gen", "wire", "api"],
  editor: ["gen", "wire", "session"],
  terminal: ["gen", "wire", "session"],
  features: ["gen", "api", "ui", "session", "editor", "terminal", "features"],
  pages: ["gen", "api", "ui", "session", "editor", "terminal", "features", "pages"],
};

const fences = Object.entries(layers).map(([layer, allowed]) => {
  const forbidden = Object.keys(layers).filter((name) => name !== layer && !allowed.includes(name));
  return {
    files: [`src/${layer}/**/*.{ts,tsx}`],
    rules: {
      "no-restricted-imports": [
        "error",
        {
          patterns: [
            {
              regex: `^(@/|(\\.\\./)+)(${forbidden.join("|")})(/|$)`,
              message: `src/${layer} may import only: ${[layer, ...allowed].join(", ")}.`,
            },
            ...(["gen", "api", "wire", "session"].includes(layer)
              ? [{ regex: "^react($|-dom|/)", message: `src/${layer} knows nothing of React.` }]
              : []),
          ],
        },
      ],
    },
  };
});

export default defineConfig([
  globalIgnores(["dist", "src/gen"]),
  {
    files: ["**/*.{ts,tsx}"],
    extends: [js.configs.recommended, tseslint.configs.recommended, tseslint.configs.stylistic],
    languageOptions: { globals: globals.browser },
    rules: {
      eqeqeq: "error",
      "no-console": "error",
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
    },
  },
  { files: ["src/**/*.tsx"], extends: [reactHooks.configs.flat.recommended] },
  { files: ["*.js", "*.ts"], languageOptions: { globals: globals.node } },
  ...fences,
]);
