/** A session as a user has it: request, diff, further edit, accept, save; and what the dataset holds afterwards. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { readDataset, readStats } from "./dataset.ts";
import { paletteTitle, title } from "./programs.ts";
import { BROKEN, CAPITALISED, DOCUMENTED, GREET, LOOPED, QUESTIONS } from "./texts.ts";
import { perform } from "./stage.ts";
import { instruct, judge, plan, work } from "./teacher.ts";
import { until } from "./waiting.ts";

const REQUEST = "Greet everybody who is named, and document it";
const WORDS = "Write the names with a capital letter.";

const play = {
  name: "session",
  files: { "greet.py": GREET },
  replies: {
    planner: [plan("Greet every name that is given.", "Document the function.")],
    lead: [
      instruct("Let greet take any number of names."),
      instruct("The loop reads a name that does not exist: call it names."),
      instruct("Write each name with a capital letter."),
      instruct("Add a docstring to greet."),
    ],
    worker: [
      work("A loop over the names.", BROKEN),
      work("The loop reads the parameter.", LOOPED),
      work("str.title writes the capital.", CAPITALISED),
      work("One sentence is enough.", DOCUMENTED),
    ],
    analyzer: [judge("redo")],
  },
};

test("a request becomes steps, a diff, a further edit, an accepted change and rows", { timeout: 240_000 }, () =>
  perform(play, async ({ workbench, database, saved, photograph }) => {
    await workbench.openFile("greet.py");
    await workbench.run(paletteTitle("start"));
    await workbench.question(QUESTIONS.request).waitFor();
    await photograph("1-request");
    await workbench.answer(QUESTIONS.request, REQUEST);

    // The first script that the worker wrote does not run, so the first proposal is already the second attempt.
    await workbench.shows(workbench.modified, LOOPED, 90_000);
    await workbench.shows(workbench.original, GREET);
    await workbench.lens(/ran without errors/).waitFor();
    await workbench.notification(/greet/).waitFor({ state: "hidden" });
    await photograph("2-proposal");

    await workbench.button(title("furtherEdit")).click();
    await workbench.question(QUESTIONS.furtherEdit).waitFor();
    await photograph("3-words");
    await workbench.answer(QUESTIONS.furtherEdit, WORDS);
    await workbench.shows(workbench.modified, CAPITALISED);
    await workbench.shows(workbench.original, GREET);
    // It took the place of the one before.
    await until("one diff to be open", async () => (await workbench.tab(/attempt/).count()) === 1);
    await photograph("4-further-edit");

    await workbench.button(title("accept")).click();
    await workbench.shows(workbench.modified, DOCUMENTED);
    // The second step begins with what the document now holds; the file waits for the user to save it.
    await workbench.shows(workbench.original, CAPITALISED);
    assert.equal(await saved("greet.py"), GREET);
    await photograph("5-second-step");

    await workbench.button(title("accept")).click();
    // With the last step the diff goes, and the script is in front.
    await workbench.shows(workbench.editor, DOCUMENTED);
    assert.equal(await workbench.tab(/attempt/).count(), 0);
    await workbench.line(/^3 rows/).waitFor();
    await workbench.notification(/taking your answer/).waitFor({ state: "hidden" });
    await photograph("6-accepted");

    await workbench.run("File: Save");
    await until("the file to be saved", async () => (await saved("greet.py")) === DOCUMENTED);

    const stats = await readStats(database);
    assert.deepEqual(
      { rows: stats.rows, open: stats.open_rows, rejected: stats.with_rejected, soft: stats.with_soft_labels },
      { rows: 3, open: 0, rejected: 2, soft: 3 },
    );
    const { rows } = await readDataset(database);
    assert.deepEqual(
      rows.map(({ reason, has_soft_labels, soft_labels_agree }) => [reason, has_soft_labels, soft_labels_agree]),
      [
        ["error", 1, true],
        ["further_edit", 1, true],
        [null, 1, true],
      ],
    );
    for (const row of rows.slice(0, 2)) {
      assert.match(row.prompt, /Let greet take any number of names/);
      assert.ok(row.chosen.includes(CAPITALISED.trimEnd()), row.chosen);
    }
    assert.ok(rows[0]?.rejected?.includes(BROKEN.trimEnd()));
    assert.ok(rows[1]?.rejected?.includes(LOOPED.trimEnd()));
    assert.ok(rows[2]?.chosen.includes(DOCUMENTED.trimEnd()));
  }),
);
