/** A session as a user has it, from the input box to the closed diff. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test, type TestContext } from "node:test";

import { WORTH_SAYING_MS } from "../src/thinking";
import { helpNeeded, SESSION, URI, USAGE } from "./fakeServer";
import { TabInputTextDiff, Uri } from "./fakeTypes";
import { diffs, newStage, rightSide, settled, type Stage } from "./stage";

let stage: Stage;

beforeEach(() => {
  stage = newStage();
});

afterEach(() => stage.close());

/** Start a session and have its first proposal shown. */
async function proposed(): Promise<void> {
  await stage.begin("greet", "document");
  stage.server.propose();
  await settled();
}

describe("starting", () => {
  test("the words of the input box become the request on the script in front", async () => {
    stage.editor.answers = [" greet the world "];
    await stage.run("start");
    assert.deepEqual(stage.server.last("startSession"), { uri: URI, request: "greet the world", instance: null, files: [] });
  });

  test("Escape starts nothing", async () => {
    await stage.run("start", Uri.parse(URI), { groupId: 0 });
    assert.equal(stage.server.last("startSession"), undefined);
  });

  test("without a script in front the user is told what to open", async () => {
    stage.editor.active = undefined;
    await stage.run("start");
    assert.match(stage.editor.shown.join(), /Open the Python script/);
  });

  test("a folder that is not trusted gets no session and no server", async () => {
    await stage.close();
    stage = newStage((editor) => {
      editor.trusted = false;
    });
    await stage.run("start", undefined, "greet");
    await settled();
    assert.match(stage.editor.shown.join(), /trust/);
    assert.equal(stage.server.starts, 0);
  });

  test("a script that has a session already is not given a second one", async () => {
    await proposed();
    await stage.run("start", URI, "again");
    assert.equal(stage.server.asked.filter(({ method }) => method.endsWith("startSession")).length, 1);
    assert.match(stage.editor.shown.join(), /running already/);
  });

  test("what the server refuses is told in its words", async () => {
    stage.server.answers.startSession = () => Promise.reject(new Error("The document is empty."));
    await stage.run("start", undefined, "greet");
    assert.deepEqual(stage.editor.shown, ["The document is empty."]);
  });
});

describe("a proposal", () => {
  beforeEach(proposed);

  test("is an editable diff with a name, and the keys and menus know of it", () => {
    assert.deepEqual(diffs(stage), ["greet.py: step 1/2, attempt 1"]);
    assert.equal(rightSide(stage).text, "print('hello', 'world')\n");
    assert.equal(stage.editor.context.get("precisionShaking.waiting"), true);
    assert.deepEqual(stage.editor.context.get("precisionShaking.waitingResources"), [rightSide(stage).uri.toString()]);
  });

  test("accepted as it is, it is sent without a text of its own, and closed", async () => {
    stage.server.answers.answer = { applied: true, message: "" };
    await stage.run("accept", rightSide(stage).uri, { groupId: 0 });
    assert.deepEqual(stage.server.last("answer"), {
      session: SESSION,
      attempt: "attempt-1",
      verdict: "accepted",
      words: "",
      proposed: null,
      files: [],
    });
    assert.deepEqual(diffs(stage), []);
  });

  test("accepted after a change, it is sent with the user's text, whatever line ends the editor uses", async () => {
    stage.editor.type(rightSide(stage), "print('hello')\r\nprint('mars')\r\n");
    await stage.run("accept", SESSION);
    assert.equal((stage.server.last("answer") as { proposed: string }).proposed, "print('hello')\nprint('mars')\n");
  });

  test("a further edit keeps the user's change, a redo does not", async () => {
    stage.editor.type(rightSide(stage), "print('mars')\n");
    await stage.run("furtherEdit", SESSION, "and moons");
    assert.equal((stage.server.last("answer") as { proposed: string | null }).proposed, "print('mars')\n");
    stage.server.propose({ attempt: "attempt-2", cycle: 2 });
    await settled();
    stage.editor.type(rightSide(stage), "print('venus')\n");
    await stage.run("redo", SESSION, "");
    const { verdict, proposed } = stage.server.last("answer") as { verdict: string; proposed: string | null };
    assert.deepEqual([verdict, proposed], ["redo", null]);
  });

  test("words alone are sent for the analyzer to read", async () => {
    stage.editor.answers = ["looks good"];
    await stage.run("feedback");
    assert.deepEqual(stage.server.last("answer"), {
      session: SESSION,
      attempt: "attempt-1",
      verdict: null,
      words: "looks good",
      proposed: null,
      files: [],
    });
  });

  test("Escape answers nothing", async () => {
    await stage.run("redo", SESSION);
    assert.equal(stage.server.last("answer"), undefined);
    assert.equal(stage.editor.context.get("precisionShaking.waiting"), true);
  });

  test("a second click while the first is under way answers nothing", async () => {
    let conclude: (result: unknown) => void = () => undefined;
    stage.server.answers.answer = () => new Promise((resolve) => (conclude = resolve));
    const first = stage.run("accept", SESSION);
    await settled();
    await stage.run("accept", SESSION);
    conclude({ applied: true, message: "" });
    await first;
    assert.equal(stage.server.asked.filter(({ method }) => method.endsWith("/answer")).length, 1);
    assert.match(stage.editor.shown.join(), /No proposed edit waits/);
  });

  test("when the document could not be changed the proposal waits again and the reason is shown", async () => {
    stage.server.answers.answer = { applied: false, message: "The document changed meanwhile; look again." };
    await stage.run("accept", SESSION);
    assert.deepEqual(diffs(stage).length, 1);
    assert.equal(stage.editor.context.get("precisionShaking.waiting"), true);
    assert.match(stage.editor.shown.join(), /changed meanwhile/);
  });

  test("when the answer did not arrive the proposal waits again", async () => {
    stage.server.answers.answer = () => Promise.reject(new Error("The engine is gone."));
    await stage.run("accept", SESSION);
    assert.equal(stage.editor.context.get("precisionShaking.waiting"), true);
    assert.deepEqual(stage.editor.shown, ["The engine is gone."]);
  });

  test("the next attempt takes the place of the last, without asking whether to save it", async () => {
    stage.editor.type(rightSide(stage), "print('mars')\n");
    stage.server.propose({ attempt: "attempt-2", cycle: 2, proposed: "print('all')\n" });
    await settled();
    assert.deepEqual(diffs(stage), ["greet.py: step 1/2, attempt 2"]);
    assert.equal(rightSide(stage).text, "print('all')\n");
  });

  test("the next step's proposal is not closed by the answer to the last one", async () => {
    stage.server.answers.answer = () => {
      stage.server.event({ kind: "step_accepted", step: 0, script: "x", rows: 1 });
      stage.server.event({ kind: "step_started", step: 1, text: "document" });
      stage.server.propose({ attempt: "attempt-2", step: 1 });
      return settled().then(() => ({ applied: true, message: "" }));
    };
    await stage.run("accept", SESSION);
    await settled();
    assert.deepEqual(diffs(stage), ["greet.py: step 2/2, attempt 1"]);
  });

  test("the same attempt on another base keeps what the user wrote", async () => {
    stage.editor.type(rightSide(stage), "print('mars')\n");
    stage.server.propose({ base: "print('hi')\n" });
    await settled();
    assert.equal(rightSide(stage).text, "print('mars')\n");
    const input = stage.editor.tabs[0]?.input;
    assert.ok(input instanceof TabInputTextDiff);
    const bases = stage.editor.providers.get("precision-shaking-base") as {
      provideTextDocumentContent(uri: Uri | undefined): string;
    };
    assert.equal(bases.provideTextDocumentContent(input.original), "print('hi')\n");
  });

  test("a tab that the user closed is no answer and can be brought back", async () => {
    stage.editor.close(stage.editor.tabs);
    assert.equal(stage.server.last("answer"), undefined);
    await stage.run("showProposal");
    assert.deepEqual(diffs(stage), ["greet.py: step 1/2, attempt 1"]);
  });

  test("an old attempt can be read again, and no longer be changed", async () => {
    stage.server.event({ kind: "feedback_read", attempt: "attempt-1", verdict: "redo", decided_by: "user", words: "" });
    stage.server.propose({ attempt: "attempt-2", cycle: 2 });
    await settled();
    await stage.run("openAttempt", SESSION, "attempt-1");
    const past = stage.editor.tabs.at(-1);
    assert.match(past?.label ?? "", /attempt 1 \(past\)/);
    assert.ok(past?.input instanceof TabInputTextDiff);
    assert.equal(past.input.modified.scheme, "precision-shaking-base");
  });

  test("unclear words are followed by a question, and the button that is pressed then decides", async () => {
    stage.editor.answers = ["Further Edit"];
    stage.server.propose({ unclear: true });
    await settled();
    assert.equal((stage.server.last("answer") as { verdict: string }).verdict, "further_edit");
  });
});

describe("the end of a session", () => {
  beforeEach(proposed);

  test("stopping asks the server and closes the diff", async () => {
    await stage.run("stop");
    assert.deepEqual(stage.server.last("stopSession"), { session: SESSION });
    assert.deepEqual(diffs(stage), []);
  });

  test("a failure is told in its own sentence", async () => {
    stage.server.event({ kind: "session_failed", session: SESSION, message: "The model refused the key." });
    await settled();
    assert.deepEqual(stage.editor.shown, ["The model refused the key."]);
    assert.deepEqual(diffs(stage), []);
    assert.equal(stage.editor.context.get("precisionShaking.running"), false);
  });

  test("when every step is done the rows are told and counted", async () => {
    stage.server.event({ kind: "session_finished", session: SESSION, status: "done", script: "", rows: 3, soft_labels: 1, ...USAGE });
    await settled();
    assert.match(stage.editor.shown.join(), /3 new rows/);
    assert.deepEqual(stage.server.last("datasetStats"), {});
  });

  test("when the server goes away its sessions do, and the user is told", async () => {
    stage.server.crash();
    await settled();
    assert.match(stage.editor.shown.join(), /went away/);
    assert.deepEqual(diffs(stage), []);
  });
});

describe("while agents work", () => {
  const working = { kind: "agent_started", agent: "worker", teacher: "a/b", step: 0, cycle: 1 } as const;

  /** Have the agents at work, on a clock that the test moves. */
  async function begin(context: TestContext): Promise<void> {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    await stage.begin("greet");
    stage.server.event(working);
  }

  test("a notification and the status bar say who, and its cancel stops the session", async (context) => {
    await begin(context);
    assert.match(stage.editor.statusItem.text, /worker is writing… step 1\/1/);
    context.mock.timers.tick(WORTH_SAYING_MS);
    const thinking = stage.editor.progresses.at(-1);
    assert.ok(thinking);
    assert.deepEqual(thinking.reports.at(-1), { message: "worker is writing… step 1/1" });
    thinking.cancel();
    await settled();
    assert.deepEqual(stage.server.last("stopSession"), { session: SESSION });
  });

  /** How many notifications of work under way are there? */
  function shown(): number {
    return stage.editor.progresses.filter(({ open }) => open).length;
  }

  const ends: Readonly<Record<string, () => void>> = {
    "a proposal": () => {
      stage.server.propose();
    },
    "a call for help": () => {
      stage.server.event(helpNeeded());
    },
    "the session's end": () => {
      stage.server.event({
        ...{ kind: "session_finished", session: SESSION, status: "abandoned", script: "", rows: 0, soft_labels: 0 },
        ...USAGE,
      });
    },
    "its failure": () => {
      stage.server.event({ kind: "session_failed", session: SESSION, message: "gone" });
    },
    "the server's": () => {
      stage.server.crash();
    },
  };
  for (const [what, end] of Object.entries(ends)) {
    test(`the notification goes with ${what}, and does not come when that was quick`, async (context) => {
      await begin(context);
      context.mock.timers.tick(WORTH_SAYING_MS);
      assert.equal(shown(), 1);
      end();
      await settled();
      assert.equal(shown(), 0);
      const before = stage.editor.progresses.length;
      stage.server.event(working);
      end();
      context.mock.timers.tick(2 * WORTH_SAYING_MS);
      assert.equal(stage.editor.progresses.length, before);
    });
  }

  test("what they write streams into the output, under the name of its field", async () => {
    await stage.run("start", undefined, "greet");
    for (const [field, text] of [["reasoning", "The "], ["reasoning", "world."], ["script", "print()"]] as const) {
      stage.server.event({ kind: "agent_text", agent: "worker", field, text });
    }
    assert.match(stage.editor.output.join(""), /\n\[reasoning\]\nThe world\.\n\[script\]\nprint\(\)/);
  });
});
