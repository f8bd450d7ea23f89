/** A change of several files: the instance and its files are chosen, all is shown as one diff, and accepted as one. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { readDataset } from "./dataset.ts";
import { paletteTitle, title } from "./programs.ts";
import { perform } from "./stage.ts";
import { instruct, plan, work } from "./teacher.ts";
import { QUESTIONS } from "./texts.ts";
import { until } from "./waiting.ts";

const GREET = 'from words import HELLO\n\nprint(HELLO, "world")\n';
const WORDS = 'HELLO = "hello"\n';
const NEW_GREET = "from names import NAMES\nfrom words import HELLO\n\nprint(HELLO, *NAMES)\n";
const NEW_WORDS = 'HELLO = "good morning"\n';
const NAMES = 'NAMES = ["world", "moon"]\n';
const MORE_NAMES = 'NAMES = ["world", "moon", "sun"]\n';
const ANSWER = `=== greet.py ===\n${NEW_GREET}=== words.py ===\n${NEW_WORDS}=== names.py ===\n${NAMES}`;

const play = {
  name: "several-files",
  files: { "greet.py": GREET, "words.py": WORDS },
  replies: {
    planner: [plan("Give the names a file of their own, and say good morning.")],
    lead: [instruct("Move the names into names.py; HELLO becomes good morning.")],
    worker: [work("Each file has one job.", ANSWER)],
  },
};

test("a change of several files is chosen, shown as one diff, changed in it and accepted", { timeout: 240_000 }, () =>
  perform(play, async ({ workbench, database, saved, photograph }) => {
    await workbench.openFile("greet.py");
    await workbench.run(paletteTitle("startWith"));
    await workbench.question(QUESTIONS.instance).waitFor();
    await photograph("1-instances");
    await workbench.choose(QUESTIONS.instance, /^project/);
    // The open file is chosen already, the other one of the folder is not.
    const choosable = workbench.question(QUESTIONS.files).locator(".monaco-list-row");
    await choosable.filter({ hasText: "words.py" }).click();
    await photograph("2-files");
    await workbench.page.keyboard.press("Enter");
    await workbench.answer(QUESTIONS.request, "Greet everybody, in the morning");

    await workbench.shows(workbench.part("greet.py").modified, NEW_GREET, 90_000);
    await workbench.shows(workbench.part("greet.py").original, GREET);
    await workbench.shows(workbench.part("words.py").modified, NEW_WORDS);
    await workbench.shows(workbench.part("words.py").original, WORDS);
    await workbench.shows(workbench.part("names.py").modified, NAMES);
    await photograph("3-proposal");

    const mine = workbench.part("names.py").modified;
    await mine.locator(".view-line").first().click();
    await workbench.page.keyboard.press("Control+A");
    await workbench.page.keyboard.insertText(MORE_NAMES);
    await workbench.shows(mine, MORE_NAMES);
    // What was changed has got a tab of its own from the editor, which has to go, too.
    await workbench.tab("names.py").waitFor();
    await photograph("4-changed");
    await workbench.button(title("accept")).click();

    // One row for what the user changed of the proposal; nothing is saved before they do.
    await workbench.line(/^1 row/).waitFor();
    await until("its tabs to close", async () => (await workbench.tab(/step 1/).count()) === 0);
    // The editor opens a changed file that no tab shows a moment later.
    await until("the new file to be shown", async () => (await workbench.tab("names.py").count()) === 1);
    assert.deepEqual([await saved("greet.py"), await saved("words.py")], [GREET, WORDS]);
    await photograph("5-accepted");
    await workbench.run("File: Save All");
    const held = async (): Promise<string[]> => Promise.all(["greet.py", "words.py", "names.py"].map(saved));
    const wanted = JSON.stringify([NEW_GREET, NEW_WORDS, MORE_NAMES]);
    await until("the files to be saved", async () => JSON.stringify(await held()) === wanted);

    const { rows } = await readDataset(database);
    assert.deepEqual(
      rows.map(({ reason, chosen, rejected }) => [reason, chosen.includes(MORE_NAMES), rejected?.includes(NAMES)]),
      [["amended", true, true]],
    );
  }),
);
