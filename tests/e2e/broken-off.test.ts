/** A session outlives its server and its window. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { readStats } from "./dataset.ts";
import { kill } from "./processes.ts";
import { paletteTitle, title } from "./programs.ts";
import { CAPITALISED, GREET, LOOPED, QUESTIONS } from "./texts.ts";
import { perform } from "./stage.ts";
import { instruct, plan, work } from "./teacher.ts";

test("a session goes on after its server was killed, and after its window was reloaded", { timeout: 180_000 }, () =>
  perform(
    {
      name: "broken-off",
      files: { "greet.py": GREET },
      replies: {
        planner: [plan("Greet every name that is given.", "Capitalise the names.")],
        lead: [instruct("Let greet take any number of names."), instruct("Write each name with a capital letter.")],
        worker: [work("A loop over the names.", LOOPED), work("str.title writes the capital.", CAPITALISED)],
      },
    },
    async ({ workbench, database, teacher, photograph }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("start"));
      await workbench.answer(QUESTIONS.request, "Greet everybody who is named");
      await workbench.shows(workbench.modified, LOOPED, 90_000);
      const asked = (await teacher.asked()).length;

      const servers = workbench.processes().filter(({ command }) => command.includes("precision_shaking serve"));
      assert.equal(servers.length, 1);
      servers.forEach(kill);
      await workbench.notification(/went away/).waitFor();
      await photograph("1-killed");
      await workbench.press(/went away/, "Resume");
      await workbench.shows(workbench.modified, LOOPED, 90_000);
      assert.equal((await teacher.asked()).length, asked, "nothing is asked twice");
      await workbench.button(title("accept")).click();
      await workbench.shows(workbench.modified, CAPITALISED);

      await workbench.run("Developer: Reload Window");
      await workbench.notification(/stopped at step 2\/2/).waitFor({ timeout: 60_000 });
      await photograph("2-reloaded");
      await workbench.press(/stopped at step 2\/2/, "Resume");
      await workbench.shows(workbench.modified, CAPITALISED, 90_000);
      await workbench.shows(workbench.original, LOOPED);
      await photograph("3-resumed");
      await workbench.button(title("accept")).click();
      await workbench.line(/^2 rows/).waitFor();
      await workbench.shows(workbench.editor, CAPITALISED);
      assert.equal((await readStats(database)).rows, 2);
    },
  ),
);
