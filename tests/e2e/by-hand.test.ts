/** A teacher that is busy, a step that no teacher can do, and the user who does it. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { readDataset } from "./dataset.ts";
import { paletteTitle, title } from "./programs.ts";
import { BROKEN, GREET, QUESTIONS } from "./texts.ts";
import { perform } from "./stage.ts";
import { instruct, plan, work } from "./teacher.ts";
import { until } from "./waiting.ts";

const MINE = 'greet("moon")';

test("a step that no teacher can do is done by hand, and is a row", { timeout: 120_000 }, () =>
  perform(
    {
      name: "by-hand",
      files: { "greet.py": GREET },
      prepare: () => Promise.resolve({ "precisionShaking.maxAttempts": 1 }),
      replies: {
        planner: [plan("Greet every name that is given.")],
        lead: [instruct("Let greet take any number of names.")],
        worker: [
          { content: "too many requests", status: 429, headers: { "Retry-After": "3" } },
          work("A loop over the names.", BROKEN),
        ],
      },
    },
    async ({ workbench, database, photograph }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("start"));
      await workbench.answer(QUESTIONS.request, "Greet everybody who is named");
      await workbench.statusItem(/is busy, next try in 2 s/).waitFor({ timeout: 90_000 });
      await photograph("1-busy");

      await workbench.question(QUESTIONS.help).waitFor();
      await workbench.statusItem(/next try/).waitFor({ state: "hidden" });
      await photograph("2-help");
      await workbench.choose(QUESTIONS.help, "Edit by hand");
      await workbench.shows(workbench.modified, GREET);
      await workbench.type(workbench.modified, 6, `${MINE}\n`);
      await workbench.lens(/Use my version/).waitFor();
      await photograph("3-by-hand");
      await workbench.button(title("backToQuestion")).click();
      await workbench.choose(QUESTIONS.help, "Edit by hand");
      await workbench.shows(workbench.modified, GREET + MINE);
      await workbench.lens(/Use my version/).click();

      await workbench.shows(workbench.editor, GREET + MINE);
      assert.equal(await workbench.tab(/by hand/).count(), 0);
      const [row] = await until("the row", async () => {
        const found = (await readDataset(database)).rows;
        return found.length > 0 && found;
      });
      assert.deepEqual([row?.reason, row?.author], ["error", "user"]);
      assert.ok(row?.chosen.includes(MINE));
      await workbench.line(/^1 row/).waitFor();
      await workbench.line(/1 attempt, then by hand/).waitFor();
      await photograph("4-done");
    },
  ),
);
