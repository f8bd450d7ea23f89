/** A teacher that could not answer is waited for, and the status bar counts the seconds. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test, type TestContext } from "node:test";

import type { SessionEvent } from "../src/events";
import { pauseText } from "../src/wording";
import { helpNeeded, SESSION } from "./fakeServer";
import { newStage, type Stage } from "./stage";

const WHY = "openai/gpt-4o gets too many requests: wait 12 seconds, or add another teacher.";
const PAUSE = { kind: "teacher_waiting", teacher: "openai/gpt-4o", seconds: 11.6, why: WHY, trouble: "busy" } as const;
const ASKED = { kind: "agent_started", agent: "worker", teacher: "openai/gpt-4o", step: 0, cycle: 1 } as const;
const WRITING = "$(loading~spin) worker is writing… step 1/1";

let stage: Stage;

beforeEach(async (context) => {
  (context as TestContext).mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  stage = newStage();
  await stage.begin("greet");
  stage.server.event(ASKED);
});

afterEach(() => stage.close());

function status(): string {
  const { text, visible } = stage.editor.statusItem;
  return visible ? text : "";
}

function counting(seconds: number): string {
  return `$(watch) openai/gpt-4o is busy, next try in ${seconds} s`;
}

test("the seconds go down one by one, and then the teacher is asked again", (context) => {
  stage.server.event(PAUSE);
  const seen = [status()];
  for (let second = 0; second < 12; second += 1) {
    context.mock.timers.tick(1000);
    seen.push(status());
  }
  assert.deepEqual(seen, [...Array.from({ length: 12 }, (_, past) => counting(12 - past)), WRITING]);
});

test("a second pause begins anew, though it says the same", (context) => {
  stage.server.event(PAUSE);
  context.mock.timers.tick(5000);
  stage.server.event(ASKED);
  assert.equal(status(), WRITING);
  stage.server.event({ ...PAUSE });
  assert.equal(status(), counting(12));
  context.mock.timers.tick(1000);
  assert.equal(status(), counting(11));
});

describe("it ends when something else happens", () => {
  const ends: Readonly<Record<string, SessionEvent>> = {
    "the teacher is asked again": ASKED,
    "it writes": { kind: "agent_text", agent: "worker", field: "script", text: "x" },
    "the next teacher comes": { kind: "teacher_switched", step: 0, teacher: "a/b" },
    "nobody could do the step": helpNeeded(),
    "the session fails": { kind: "session_failed", session: SESSION, message: "gone" },
  };
  for (const [what, event] of Object.entries(ends)) {
    test(what, (context) => {
      stage.server.event(PAUSE);
      context.mock.timers.tick(2000);
      stage.server.event(event);
      const told = status();
      assert.doesNotMatch(told, /next try/);
      context.mock.timers.tick(60_000);
      assert.equal(status(), told);
    });
  }
});

test("the notification says why, once", (context) => {
  context.mock.timers.tick(1000);
  stage.server.event(PAUSE);
  context.mock.timers.tick(3000);
  const reports = stage.editor.progresses.at(-1)?.reports.map(({ message }) => message);
  assert.deepEqual(reports, ["worker is writing… step 1/1", WHY]);
});

test("every trouble has words", () => {
  const words = ["busy", "failing", "unreachable", "broken"].map((trouble) => pauseText({ ...PAUSE, trouble }, 0.2));
  assert.equal(new Set(words).size, 4);
  assert.equal(words[0], "openai/gpt-4o is busy, next try in 1 s");
  assert.match(pauseText({ ...PAUSE, trouble: "new" }, 1), /could not answer/);
});
