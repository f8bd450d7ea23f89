/** What the user does around the sessions. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import type { DatasetView } from "../src/datasetView";
import { keyOwner } from "../src/keys";
import { NoServerError } from "../src/python";
import { Increments } from "../src/workDone";
import { URI } from "./fakeServer";
import { Uri } from "./fakeTypes";
import { newStage, settled, type Stage } from "./stage";

let stage: Stage;

beforeEach(() => {
  stage = newStage((editor) => {
    editor.settings = { teachers: ["embedded/smollm2", "openai/gpt-4o"] };
  });
});

afterEach(() => stage.close());

describe("API keys", () => {
  test("a key belongs to a provider, or to the address it was given for", () => {
    assert.equal(keyOwner("openai/gpt-4o"), "openai");
    assert.equal(keyOwner("openai/mine@http://127.0.0.1:8000/v1/"), "openai@http://127.0.0.1:8000/v1");
    assert.equal(keyOwner("openai"), "openai");
    assert.equal(keyOwner("vertex_ai/claude@2024"), "vertex_ai");
    assert.equal(keyOwner("vertex_ai/claude@2024@https://h/v1"), "vertex_ai@https://h/v1");
  });

  test("a stored key is answered to the server, for its own address only, and is nowhere in the settings", async () => {
    stage.editor.answers = ["openai", " secret "];
    await stage.run("setApiKey");
    await stage.run("showDataset");
    assert.deepEqual(await stage.server.ask("apiKey", { teacher: "openai/gpt-4o" }), { key: "secret" });
    assert.deepEqual(await stage.server.ask("apiKey", { teacher: "openai/gpt-4o@http://elsewhere/v1" }), { key: null });
    assert.doesNotMatch(JSON.stringify([stage.editor.settings, stage.editor.output]), /secret/);
  });

  test("an empty key removes the stored one", async () => {
    stage.editor.secrets.set("precisionShaking.apiKey.openai", "old");
    stage.editor.answers = ["openai", ""];
    await stage.run("setApiKey");
    assert.equal(stage.editor.secrets.size, 0);
  });

  test("a storage that forgets is not believed", async () => {
    stage.editor.secrets.set = () => stage.editor.secrets;
    stage.editor.answers = ["openai", "secret"];
    await stage.run("setApiKey");
    assert.match(stage.editor.shown.join(), /did not keep the key/);
  });
});

// A number that is missing on one side is not told.
const METRICS = {
  before: { pair_accuracy: 0.5, chosen_perplexity: null, kl: 0.9 },
  after: { pair_accuracy: 0.83333, chosen_perplexity: 3.2, kl: 0.03123 },
};

describe("training", () => {
  test("shows what the trainer says, and what came of it", async () => {
    stage.server.answers.startTraining = async () => {
      stage.server.progress("step 1 of 4", 25);
      stage.server.progress("step 3 of 4", 75);
      await settled();
      return { status: "finished", output: "/students/one", metrics: METRICS };
    };
    await stage.run("train");
    assert.deepEqual(stage.editor.progresses.at(-1)?.reports, [
      { message: "step 1 of 4", increment: 25 },
      { message: "step 3 of 4", increment: 50 },
    ]);
    assert.deepEqual(stage.editor.shown, ["The small model is trained: one, pair accuracy 0.5 → 0.833, KL to the teacher 0.9 → 0.0312."]);
  });

  test("its cancel button cancels the request", async () => {
    stage.server.answers.startTraining = (_: unknown, token: { onCancellationRequested(listener: () => void): void }) =>
      new Promise((resolve) => {
        token.onCancellationRequested(() => {
          resolve({ status: "cancelled", output: "/students/one", metrics: {} });
        });
      });
    const training = stage.run("train");
    await settled();
    stage.editor.progresses.at(-1)?.cancel();
    await training;
    assert.deepEqual(stage.editor.shown, ["The training was cancelled: one."]);
  });

  test("what it made is offered as the worker, used, and given up again", async () => {
    stage.editor.answers = ["Use as Worker"];
    await stage.run("train");
    const asked = stage.server.asked.find(({ method }) => method === "precisionShaking/makeWorker");
    assert.equal((asked?.params as { training: string }).training, "/students/one");
    assert.equal(stage.editor.settings.worker, "embedded//models/one/one-f16.gguf");
    assert.deepEqual(stage.editor.settings.teachers, ["embedded/smollm2", "openai/gpt-4o"], "they stay behind it");
    assert.match(stage.editor.shown.at(-1) ?? "", /Stop Using My Model/);
    await settled();
    const told = stage.server.told.at(-1)?.params as { settings: { precisionShaking: { worker: string } } };
    assert.equal(told.settings.precisionShaking.worker, "embedded//models/one/one-f16.gguf");
    await stage.run("stopMyModel");
    assert.equal(stage.editor.settings.worker, undefined);
  });

  test("the last one can be used later, and given up where that is told", async () => {
    stage.editor.answers = ["Stop Using It"];
    await stage.run("useMyModel");
    const asked = stage.server.asked.find(({ method }) => method === "precisionShaking/makeWorker");
    assert.equal((asked?.params as { training: string | null }).training, null);
    assert.equal(stage.editor.settings.worker, undefined);
  });

  test("a model that was cancelled as it was made is not used", async () => {
    stage.server.answers.makeWorker = (_: unknown, token: { onCancellationRequested(listener: () => void): void }) =>
      new Promise((_resolve, reject) => {
        token.onCancellationRequested(() => {
          reject(new Error("cancelled"));
        });
      });
    const making = stage.run("useMyModel");
    await settled();
    stage.editor.progresses.at(-1)?.cancel();
    await making;
    assert.deepEqual([stage.editor.settings.worker, stage.editor.shown], [undefined, []]);
  });

  test("percent of the whole become steps, and never run backwards", () => {
    const increments = new Increments();
    assert.deepEqual([10, 30, 20, undefined, 100].map((at) => increments.to(at)), [10, 20, 0, undefined, 70]);
  });
});

describe("the server", () => {
  test("starts with the first script, and not with another document", async () => {
    await stage.close();
    stage = newStage();
    stage.editor.documents.length = 0;
    await settled();
    assert.equal(stage.server.starts, 1, "the stage opens a script");
    const other = newStage((editor) => {
      editor.trusted = false;
    });
    await settled();
    assert.equal(other.server.starts, 0, "not in a folder that is not trusted");
    other.editor.trusted = true;
    other.editor.granted.fire(undefined);
    await settled();
    assert.equal(other.server.starts, 1);
    other.close();
  });

  test("is told of changed settings, and restarted for another interpreter", async () => {
    await settled();
    stage.editor.change({ maxAttempts: 5 });
    await settled();
    assert.deepEqual(stage.server.told, [
      {
        method: "workspace/didChangeConfiguration",
        params: {
          settings: {
            precisionShaking: {
              teachers: ["embedded/smollm2", "openai/gpt-4o"],
              worker: "",
              maxAttempts: 5,
              maxWholeLines: 350,
              database: "",
              student: "smollm2",
              trainingSteps: 200,
              scorer: "",
              execute: true,
              instance: "script",
            },
          },
        },
      },
    ]);
    stage.editor.change({ interpreter: ["/usr/bin/python3"] });
    await settled();
    assert.deepEqual([stage.server.starts, stage.server.stops], [2, 1]);
  });

  test("a start that failed is told once, and tried again when something is wanted", async () => {
    await stage.close();
    stage = newStage((editor, server) => {
      server.failure = new NoServerError("No Python has the package.");
      editor.answers = ["Choose Interpreter", undefined];
    });
    await settled();
    stage.editor.open(Uri.parse("file:///home/user/other.py"), "print()\n");
    await settled();
    assert.deepEqual(stage.editor.shown, [
      "No Python has the package.",
      "The Python that has the precision-shaking package",
    ]);
    stage.server.failure = undefined;
    await stage.run("showDataset");
    assert.deepEqual(stage.server.last("datasetStats"), {});
  });
});

test("without a server nobody is asked for a request that would be lost", async () => {
  stage.close();
  stage = newStage((_, server) => {
    server.failure = new NoServerError("No Python has the package.");
  });
  await settled();
  await stage.run("start");
  assert.deepEqual(stage.editor.shown, ["No Python has the package.", "No Python has the package."]);
});

describe("choosing the interpreter", () => {
  test("a file becomes the setting", async () => {
    stage.editor.answers = [[Uri.file("/opt/python/bin/python3")]];
    await stage.run("chooseInterpreter");
    assert.deepEqual(stage.editor.settings.interpreter, ["/opt/python/bin/python3"]);
  });
});

test("the dataset's numbers become lines, which nobody has to ask for", async () => {
  await settled();
  assert.equal(stage.server.last("datasetStats"), undefined, "the view was not looked at");
  const view = stage.editor.providers.get("precisionShaking.dataset") as DatasetView;
  assert.deepEqual(view.getChildren(), []);
  await settled();
  const labels = view.getChildren().map(({ label }) => label);
  const [first] = view.getChildren();
  assert.equal(first && view.getTreeItem(first).accessibilityInformation?.label, "2 rows, ready to train on");
  assert.deepEqual(labels, [
    "2 rows",
    "1 open row",
    "2 with soft labels",
    "1 with a rejected answer",
    "further edit",
    "embedded/smollm2",
    "1 session",
    "246 kB",
  ]);
});

test("every command can be run without anything around it", async () => {
  const bare = newStage((editor) => {
    editor.settings = { teachers: [] };
  });
  bare.editor.active = undefined;
  for (const name of bare.editor.commands.keys()) {
    await bare.editor.commands.get(name)?.();
  }
  assert.ok(bare.editor.commands.size > 0);
  assert.equal(bare.server.last("startSession"), undefined, URI);
  bare.close();
});
