/** The other ways through a session: the lightbulb, redo, a hand on the proposal, and plain words. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { readDataset } from "./dataset.ts";
import { paletteTitle, title } from "./programs.ts";
import { CAPITALISED, ENDLESS, GREET, LOOPED, QUESTIONS } from "./texts.ts";
import { perform } from "./stage.ts";
import { instruct, judge, plan, work } from "./teacher.ts";
import { until } from "./waiting.ts";

const AMENDMENT = 'greet("mars")';

const play = {
  name: "actions",
  files: { "greet.py": GREET },
  replies: {
    planner: [plan("Greet every name that is given, capitalised.")],
    lead: [instruct("Let greet take any number of names."), instruct("Write each name with a capital letter, too.")],
    worker: [work("A loop over the names.", LOOPED), work("str.title writes the capital.", CAPITALISED)],
    analyzer: [judge("accepted")],
  },
};

test("a code action starts a session, and words alone accept what the user changed by hand", { timeout: 240_000 }, () =>
  perform(play, async ({ workbench, database, photograph }) => {
    await workbench.openFile("greet.py");
    await workbench.lightbulb(/Precision Shaking/);
    await workbench.answer(QUESTIONS.request, "Greet everybody who is named");
    await workbench.shows(workbench.modified, LOOPED, 90_000);

    await workbench.button(title("redo")).click();
    await workbench.answer(QUESTIONS.redo, "The names must be capitalised.");
    await workbench.shows(workbench.modified, CAPITALISED);
    await photograph("1-redone");

    await workbench.modified.locator(".view-lines").click();
    await workbench.page.keyboard.press("Control+End");
    await workbench.page.keyboard.type(`${AMENDMENT}\n`);
    await workbench.shows(workbench.modified, CAPITALISED + AMENDMENT);
    await photograph("2-amended");

    await workbench.button(title("feedback")).click();
    await workbench.answer(QUESTIONS.feedback, "Good, take it.");
    await workbench.shows(workbench.editor, CAPITALISED + AMENDMENT);

    const rows = await until("the rows to be complete", async () => {
      const found = (await readDataset(database)).rows;
      return found.length === 2 && found;
    });
    assert.deepEqual(rows.map(({ reason, author }) => [reason, author]), [
      ["redo", "user"],
      ["amended", "user"],
    ]);
    assert.ok(rows.every(({ chosen }) => chosen.includes(AMENDMENT)));
    assert.ok(rows[1]?.rejected?.includes(CAPITALISED.trimEnd()) && !rows[1].rejected.includes(AMENDMENT));
  }),
);

test("a session that is stopped while the worker writes leaves the document and the dataset alone", { timeout: 240_000 }, () =>
  perform(
    {
      name: "stopped",
      files: { "greet.py": GREET },
      replies: { ...play.replies, worker: [{ content: work("Too late.", LOOPED), delay: 600 }] },
    },
    async ({ workbench, database, photograph }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("start"));
      await workbench.answer(QUESTIONS.request, "Greet everybody who is named");
      await workbench.statusItem(/worker is writing/).waitFor({ timeout: 90_000 });
      await photograph("1-writing");
      await workbench.run(paletteTitle("stop"));
      await workbench.statusItem(/worker is writing/).waitFor({ state: "hidden" });
      await photograph("2-stopped");
      await workbench.shows(workbench.editor, GREET);
      assert.deepEqual((await readDataset(database)).rows, []);
    },
  ),
);

test("closing the editor ends the script that is being run", { timeout: 240_000 }, () =>
  perform(
    {
      name: "closed",
      files: { "greet.py": GREET },
      replies: { ...play.replies, worker: [work("Round and round.", ENDLESS)] },
    },
    async ({ workbench }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("start"));
      await workbench.answer(QUESTIONS.request, "Greet for ever");
      await workbench.statusItem(/running the script/).waitFor({ timeout: 90_000 });
      await until("the script to run", () => workbench.processes().some(({ command }) => command.startsWith("bwrap")));
      // What is left after the editor is closed fails every one of these tests.
    },
  ),
);
