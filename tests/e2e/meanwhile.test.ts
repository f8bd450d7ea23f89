/** What the user does to the document while a proposal waits is kept, and shown where both changed the same. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { readDataset } from "./dataset.ts";
import { paletteTitle, title } from "./programs.ts";
import { QUESTIONS } from "./texts.ts";
import { perform } from "./stage.ts";
import { instruct, plan, work } from "./teacher.ts";

const BEFORE = `greeting = "hello"


def greet(name):
    print(greeting, name)


greet("world")
`;
const PROPOSED = BEFORE.replace('greet("world")', 'greet("moon")');
const MERGED = PROPOSED.replace("def greet", "# For everybody.\ndef greet");
const SECOND = MERGED.replace("hello", "good morning");

test("a document that changed meanwhile keeps its changes when a proposal is accepted", { timeout: 120_000 }, () =>
  perform(
    {
      name: "meanwhile",
      files: { "greet.py": BEFORE },
      replies: {
        planner: [plan("Greet the moon.", "Say good morning.")],
        lead: [instruct("Greet the moon."), instruct("Say good morning.")],
        worker: [work("The moon is greeted.", PROPOSED), work("It is morning.", SECOND)],
      },
    },
    async ({ workbench, database, photograph }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("start"));
      await workbench.answer(QUESTIONS.request, "Greet the moon in the morning");
      await workbench.shows(workbench.modified, PROPOSED, 90_000);

      await workbench.tab("greet.py").click();
      await workbench.type(workbench.editor, 4, "# For everybody.\n");
      await workbench.tab(/step 1/).click();
      await workbench.button(title("accept")).click();
      await workbench.shows(workbench.original, MERGED);
      await photograph("1-merged");

      // The second proposal changes the first line, and so does the user.
      await workbench.tab("greet.py").click();
      await workbench.type(workbench.editor, 1, "# politely\n");
      await workbench.page.keyboard.press("Control+Shift+K");
      await workbench.tab(/step 2/).click();
      await workbench.button(title("accept")).click();
      await workbench.notification(/changed in the same lines meanwhile/).waitFor();
      await workbench.shows(workbench.original, MERGED.replace('greeting = "hello"', "# politely"));
      await photograph("2-same-lines");
      await workbench.button(title("accept")).click();
      await workbench.line(/^2 rows/).waitFor();
      await workbench.shows(workbench.editor, SECOND);
      await photograph("3-accepted");
      const { rows } = await readDataset(database);
      assert.equal(rows.length, 2);
      assert.ok(rows.every(({ rejected }) => rejected === null));
    },
  ),
);
