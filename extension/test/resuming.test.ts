/** Sessions that broke off: what the user is offered, and what becomes of it. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import { SESSION, URI } from "./fakeServer";
import { Uri } from "./fakeTypes";
import { newStage, settled, type Stage } from "./stage";

const WAITING = {
  session: SESSION,
  uri: URI,
  request: "greet",
  createdAt: "2026-03-14T09:26:53.589+00:00",
  step: 0,
  steps: 2,
  text: "greet the world",
  teachers: ["embedded/smollm2"],
  problem: "",
};
const OF_ANOTHER = { ...WAITING, step: -1, steps: 0, problem: "This version cannot resume the session." };
const QUESTION = "The session on greet.py stopped at step 1/2. Resume?";

let stage: Stage;

/** The extension starts, and the server knows of these sessions. */
async function begun(sessions: unknown[], ...answers: unknown[]): Promise<void> {
  stage = newStage((editor, server) => {
    editor.answers = answers;
    server.answers.openSessions = { sessions };
  });
  await settled();
  await settled();
}

afterEach(() => stage.close());

describe("a session whose document is open", () => {
  test("is offered when the extension starts, and resumed", async () => {
    await begun([WAITING], "Resume");
    assert.deepEqual(stage.editor.shown, [QUESTION]);
    assert.deepEqual(stage.server.last("resumeSession"), { session: SESSION });
    assert.ok(stage.editor.executed.includes("precisionShaking.plan.focus"));
  });

  test("is given up when the user wants that", async () => {
    await begun([WAITING], "Abandon");
    assert.deepEqual(stage.server.last("abandonSession"), { session: SESSION });
    assert.equal(stage.server.last("resumeSession"), undefined);
  });

  test("is offered once: Later means later", async () => {
    await begun([WAITING], "Later");
    stage.editor.opened.fire(stage.script);
    await settled();
    assert.deepEqual(stage.editor.shown, [QUESTION]);
    assert.equal(stage.server.last("abandonSession"), undefined);
  });

  test("of another version can only be given up", async () => {
    await begun([OF_ANOTHER], "Abandon");
    assert.deepEqual(stage.editor.shown, [`The session on greet.py broke off. ${OF_ANOTHER.problem}`]);
    assert.deepEqual(stage.server.last("abandonSession"), { session: SESSION });
  });

  test("stopped before it had a plan", async () => {
    await begun([{ ...WAITING, step: -1, steps: 0 }]);
    assert.deepEqual(stage.editor.shown, ["The session on greet.py stopped at its plan. Resume?"]);
  });
});

test("a session is offered when its document opens", async () => {
  await begun([{ ...WAITING, uri: "file:///home/user/other.py" }], "Resume");
  assert.deepEqual(stage.editor.shown, []);
  stage.editor.opened.fire(stage.editor.open(Uri.parse("file:///home/user/other.py"), "print()\n"));
  await settled();
  assert.deepEqual(stage.editor.shown, ["The session on other.py stopped at step 1/2. Resume?"]);
  assert.deepEqual(stage.server.last("resumeSession"), { session: SESSION });
});

test("a server that cannot say what waits bothers nobody", async () => {
  await begun([{ nonsense: true }]);
  assert.deepEqual(stage.editor.shown, []);
});

describe("the command", () => {
  test("resumes the session that the user picks", async () => {
    await begun([{ ...WAITING, session: "other", uri: "file:///a.py" }, { ...WAITING, uri: "file:///b.py" }], undefined);
    stage.editor.answers = [1];
    await stage.run("resume");
    assert.deepEqual(stage.server.last("resumeSession"), { session: SESSION });
    assert.ok(stage.editor.documents.some(({ uri }) => uri.toString() === "file:///b.py"));
  });

  test("offers to give up what cannot be resumed", async () => {
    await begun([{ ...OF_ANOTHER, uri: "file:///b.py" }]);
    stage.editor.answers = ["Abandon"];
    await stage.run("resume");
    assert.deepEqual(stage.server.last("abandonSession"), { session: SESSION });
    assert.equal(stage.server.last("resumeSession"), undefined);
  });

  test("says when there is none", async () => {
    await begun([]);
    await stage.run("resume");
    assert.deepEqual(stage.editor.shown, ["No session waits to be resumed."]);
  });
});

describe("a session that breaks off", () => {
  beforeEach(async () => {
    await begun([]);
    await stage.begin("greet", "say bye");
    stage.server.propose();
    await settled();
  });

  test("with its engine can be resumed at once", async () => {
    stage.editor.answers = ["Resume"];
    stage.server.event({ kind: "session_failed", session: SESSION, message: "The engine stopped." });
    await settled();
    assert.deepEqual(stage.editor.shown.slice(-1), ["The engine stopped."]);
    assert.deepEqual(stage.server.last("resumeSession"), { session: SESSION });
  });

  test("with its server too", async () => {
    stage.editor.answers = ["Resume"];
    stage.server.crash();
    await settled();
    assert.match(stage.editor.shown.join(), /server went away/);
    assert.deepEqual(stage.server.last("resumeSession"), { session: SESSION });
  });

  test("is shown as it was when it goes on", async () => {
    stage.server.event({ kind: "session_failed", session: SESSION, message: "The engine stopped." });
    const told = { session: SESSION, document: URI, request: "greet", teachers: [] };
    stage.server.event({ kind: "session_started", ...told });
    stage.server.event({ kind: "plan_ready", steps: ["greet", "say bye"] });
    stage.server.event({ kind: "step_started", step: 0, text: "greet" });
    stage.server.event({ kind: "step_restored", step: 0, script: "print('hi')\n" });
    stage.server.event({ kind: "step_started", step: 1, text: "say bye" });
    stage.server.propose({ step: 1 });
    await settled();
    assert.equal(stage.editor.context.get("precisionShaking.waiting"), true);
    assert.match(stage.editor.statusItem.text, /step 2\/2/);
  });
});
