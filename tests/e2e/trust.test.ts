/** A folder that the user does not trust: nothing of it is run, and they are told why. */

import assert from "node:assert/strict";
import { readdir } from "node:fs/promises";
import { test } from "node:test";

import { paletteTitle } from "./programs.ts";
import { GREET } from "./texts.ts";
import { perform } from "./stage.ts";

test("in a workspace that is not trusted nothing is started, and a sentence says why", { timeout: 120_000 }, () =>
  perform(
    {
      name: "untrusted",
      files: { "greet.py": GREET },
      replies: {},
      prepare: () =>
        Promise.resolve({
          "security.workspace.trust.enabled": true,
          "security.workspace.trust.startupPrompt": "never",
        }),
    },
    async ({ workbench, teacher, home, photograph }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("start"));
      await workbench.notification(/works only in a workspace that you trust/).waitFor();
      await workbench.page.getByRole("tab", { name: "Precision Shaking" }).click();
      await workbench.page.locator(".welcome-view-content").getByText(/Nothing of it was started here/).waitFor();
      await photograph("1-told");
      await workbench.press(/works only in a workspace that you trust/, "Manage Trust");
      await workbench.tab("Workspace Trust").waitFor();
      const python = workbench.processes().filter(({ command }) => command.includes("precision_shaking"));
      assert.deepEqual(python, []);
      assert.deepEqual(await teacher.asked(), []);
      assert.deepEqual(await readdir(home), []);
    },
  ),
);
