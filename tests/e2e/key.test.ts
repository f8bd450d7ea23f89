/** An API key: typed once, sent to its teacher alone, and kept where nobody reads it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { paletteTitle } from "./programs.ts";
import { filesWith } from "./searching.ts";
import { GREET, LOOPED, QUESTIONS } from "./texts.ts";
import { perform } from "./stage.ts";
import { instruct, plan, work } from "./teacher.ts";

const KEY = "sk-canary-0123456789";

test("a key reaches its teacher, and neither settings nor logs nor the dataset", { timeout: 120_000 }, () =>
  perform(
    {
      name: "key",
      files: { "greet.py": GREET },
      replies: {
        planner: [plan("Greet every name that is given.")],
        lead: [instruct("Let greet take any number of names.")],
        worker: [work("A loop over the names.", LOOPED)],
      },
    },
    async ({ workbench, teacher, home, photograph }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("setApiKey"));
      await photograph("1-whose");
      await workbench.choose(QUESTIONS.keyOwner, /openai@/);
      await workbench.question(QUESTIONS.key).waitFor();
      await workbench.page.keyboard.type(KEY);
      await photograph("2-key");
      await workbench.page.keyboard.press("Enter");
      await workbench.notification(/is stored/).waitFor();
      await photograph("3-stored");

      await workbench.run(paletteTitle("start"));
      await workbench.answer(QUESTIONS.request, "Greet everybody who is named");
      await workbench.shows(workbench.modified, LOOPED, 90_000);
      const authorizations = (await teacher.asked()).map(({ headers }) => headers["Authorization"]);
      assert.deepEqual(new Set(authorizations), new Set([`Bearer ${KEY}`]));
      assert.deepEqual(await workbench.filesWith(KEY), []);
      assert.deepEqual(await filesWith(home, KEY), []);
    },
  ),
);
