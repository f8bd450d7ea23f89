/** Words that were read as something else than they meant: one click puts it right. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { readDataset } from "./dataset.ts";
import { paletteTitle, title } from "./programs.ts";
import { CAPITALISED, GREET, LOOPED, QUESTIONS } from "./texts.ts";
import { perform } from "./stage.ts";
import { instruct, judge, plan, work } from "./teacher.ts";
import { until } from "./waiting.ts";

test("a click on what was meant labels the rows anew", { timeout: 120_000 }, () =>
  perform(
    {
      name: "misread",
      files: { "greet.py": GREET },
      replies: {
        planner: [plan("Greet every name that is given, capitalised.")],
        lead: [instruct("Let greet take any number of names."), instruct("Write each name with a capital letter, too.")],
        worker: [work("A loop over the names.", LOOPED), work("str.title writes the capital.", CAPITALISED)],
        analyzer: [judge("further_edit")],
      },
    },
    async ({ workbench, database, photograph }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("start"));
      await workbench.answer(QUESTIONS.request, "Greet everybody who is named");
      await workbench.shows(workbench.modified, LOOPED, 90_000);
      await workbench.button(title("feedback")).click();
      await workbench.answer(QUESTIONS.feedback, "No, the names must be capitalised");
      await workbench.notification(/Read as: further edit/).waitFor();
      await workbench.shows(workbench.modified, CAPITALISED);
      await photograph("1-read");
      await workbench.press(/Read as: further edit/, "Redo");
      await workbench.notification(/Noted as redo in your dataset/).waitFor();
      await photograph("2-noted");
      await workbench.button(title("accept")).click();
      const rows = await until("the row to be complete", async () => {
        const found = (await readDataset(database)).rows;
        return found.length > 0 && found;
      });
      assert.deepEqual(rows.map(({ reason }) => reason), ["redo"]);
    },
  ),
);
