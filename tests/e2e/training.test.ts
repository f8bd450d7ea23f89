/** The training command, from a dataset of two rows to an adapter on disk and a worker, and cancelled on the way. */

import assert from "node:assert/strict";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";

import { type Training, readDataset } from "./dataset.ts";
import { finish } from "./processes.ts";
import { PYTHON, paletteTitle } from "./programs.ts";
import { CAPITALISED, GREET, LOOPED } from "./texts.ts";
import { type Backstage, perform } from "./stage.ts";
import { instruct, judge, plan, work } from "./teacher.ts";
import { until } from "./waiting.ts";

const replies = {
  planner: [plan("Greet every name that is given.")],
  lead: [instruct("Let greet take any number of names."), instruct("Write each name with a capital letter.")],
  worker: [work("A loop over the names.", LOOPED), work("str.title writes the capital.", CAPITALISED)],
  analyzer: [judge("redo")],
};

/** A session without an editor, for the rows. */
async function harvest({ folder, database, teacher }: Backstage): Promise<void> {
  const script = join(folder, "harvest.py");
  const answers = join(folder, "answers.jsonl");
  await writeFile(script, GREET);
  await writeFile(answers, '{"verdict": "redo", "text": "Capital letters."}\n{"verdict": "accepted"}\n');
  const session = ["run", script, "Greet everybody", "--teacher", teacher, "--answers", answers, "--db", database];
  await finish({ command: PYTHON, args: ["-m", "precision_shaking", ...session], env: process.env });
}

/** The same with a student that trains in no time. */
async function harvestForTiny(backstage: Backstage): Promise<string> {
  await harvest(backstage);
  const student = join(backstage.folder, "student");
  await finish({ command: PYTHON, args: [join(import.meta.dirname, "..", "tiny_student.py"), student], env: process.env });
  return student;
}

const play = { files: { "greet.py": GREET }, replies };

test("training shows its progress and leaves an adapter", { timeout: 240_000 }, () =>
  perform(
    {
      ...play,
      name: "training",
      prepare: async (backstage) => ({
        "precisionShaking.student": await harvestForTiny(backstage),
        "precisionShaking.trainingSteps": 3,
      }),
    },
    async ({ workbench, database, photograph }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("train"));
      await workbench.notification(/step \d+ of 3/).waitFor({ timeout: 120_000 });
      await photograph("1-progress");
      const [training] = await until("the training to end", () => ended(database), { timeout: 120_000 });
      assert.equal(training?.status, "done");
      assert.equal(training?.last_step, 3);
      assert.ok((await readdir(training.output)).includes("adapter_model.safetensors"));
      await workbench.notification(/The small model is trained/).waitFor();
      await photograph("2-finished");
    },
  ),
);

test("a cancelled training keeps what it learned", { timeout: 240_000 }, () =>
  perform(
    {
      ...play,
      name: "cancelled",
      prepare: async (backstage) => ({
        "precisionShaking.student": await harvestForTiny(backstage),
        "precisionShaking.trainingSteps": 100_000,
      }),
    },
    async ({ workbench, database, photograph }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("train"));
      const progress = workbench.notification(/step \d+ of 100000/);
      await progress.waitFor({ timeout: 120_000 });
      await photograph("1-progress");
      await progress.getByRole("button", { name: "Cancel" }).click();
      const [training] = await until("the training to end", () => ended(database), { timeout: 60_000 });
      assert.equal(training?.status, "cancelled");
      assert.ok((training?.last_step ?? 0) > 0);
      assert.ok((await readdir(training?.output ?? "")).includes("adapter_model.safetensors"));
    },
  ),
);

test("what was trained becomes the worker, and stops being it", { timeout: 240_000 }, () =>
  perform(
    {
      ...play,
      name: "own-model",
      prepare: async (backstage) => {
        await harvest(backstage);
        return { "precisionShaking.trainingSteps": 1 };
      },
    },
    async ({ workbench, home, photograph }) => {
      await workbench.openFile("greet.py");
      await workbench.run(paletteTitle("train"));
      const trained = workbench.notification(/The small model is trained/);
      await trained.waitFor({ timeout: 120_000 });
      await photograph("1-trained");
      await workbench.press(/The small model is trained/, "Use as Worker");
      await workbench.notification(/The worker asks your model first/).waitFor({ timeout: 120_000 });
      await photograph("2-working");
      const [model = ""] = await readdir(join(home, "models"));
      const [file] = (await readdir(join(home, "models", model))).filter((name) => name.endsWith(".gguf"));
      const set = `"precisionShaking.worker": "embedded/${join(home, "models", model, String(file))}"`;
      await until("the setting to be written", async () => (await workbench.filesWith(set)).length > 0);
      await workbench.press(/The worker asks your model first/, "Stop Using It");
      await workbench.notification(/The worker asks your teachers only/).waitFor();
      await until("the setting to be gone", async () => (await workbench.filesWith(set)).length === 0);
    },
  ),
);

/** The trainings, once there is one and it no longer runs. */
async function ended(database: string): Promise<readonly Training[] | false> {
  const { trainings } = await readDataset(database);
  return trainings.length > 0 && trainings.every(({ status }) => status !== "running") && trainings;
}
