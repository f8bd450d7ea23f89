/** A change of several files: what it is started with, its one diff, and its answer. */

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import { SESSION, URI } from "./fakeServer";
import type { FakeDocument } from "./fakeEditor";
import { TabInputText, Uri } from "./fakeTypes";
import { diffs, newStage, settled, type Stage } from "./stage";

const NAMES = "file:///home/user/names.py";
const CHANGED = { uri: URI, path: "greet.py", base: "print('hello')\n", proposed: "from names import NAMES\n" };
const NEW = { uri: NAMES, path: "names.py", base: null, proposed: "NAMES = ['world']\n" };
const FILES = [CHANGED, NEW];

let stage: Stage;

beforeEach(() => {
  stage = newStage();
});

afterEach(() => stage.close());

describe("choosing what a session is", () => {
  test("the usual command asks for nothing but the request", async () => {
    stage.editor.answers = ["greet the world"];
    await stage.run("start");
    assert.equal(stage.editor.shown.length, 1);
    assert.equal(stage.server.last("instances"), undefined);
  });

  test("the other one asks for the instance and its files first; those that are open are chosen", async () => {
    stage.editor.found = [Uri.parse(URI), Uri.parse(NAMES)];
    let offered: unknown[] = [];
    stage.editor.answers = [
      1,
      (_question: string, items: unknown[]) => {
        offered = items;
        return items;
      },
      "greet the names",
    ];
    await stage.run("startWith");
    assert.deepEqual(
      offered.map((item) => [(item as { label: string }).label, (item as { picked: boolean }).picked]),
      [
        ["greet.py", true],
        ["names.py", false],
      ],
    );
    const asked = { uri: URI, request: "greet the names", instance: "project", files: [URI, NAMES] };
    assert.deepEqual(stage.server.last("startSession"), asked);
  });

  test("where only one instance fits, it is not asked for", async () => {
    stage.server.answers.instances = { instances: [{ name: "script", title: "", source: "shipped", files: [] }] };
    stage.editor.answers = ["greet the world"];
    await stage.run("startWith");
    assert.deepEqual(stage.server.last("startSession"), { uri: URI, request: "greet the world", instance: "script", files: [] });
  });

  test("Escape at any question starts nothing", async () => {
    await stage.run("startWith");
    stage.editor.answers = [1];
    await stage.run("startWith");
    assert.equal(stage.server.last("startSession"), undefined);
  });
});

describe("a proposal of several files", () => {
  beforeEach(async () => {
    await stage.run("start", undefined, "greet the names");
    stage.server.event({ kind: "plan_ready", steps: ["greet", "document"] });
    stage.server.propose({ files: FILES });
    await settled();
  });

  test("is one diff, and the menus know of it", () => {
    assert.deepEqual(diffs(stage), ["step 1/2, attempt 1"]);
    assert.deepEqual(rightSides().map(({ text }) => text), FILES.map(({ proposed }) => proposed));
    assert.deepEqual(stage.editor.context.get("precisionShaking.waitingResources"), rightSides().map(({ uri }) => uri.toString()));
    assert.equal(stage.editor.context.get("precisionShaking.severalInFront"), true);
    stage.editor.diff(Uri.parse("git:/a.py"), Uri.parse("file:///home/user/a.py"), "somebody else's");
    assert.equal(stage.editor.context.get("precisionShaking.severalInFront"), false);
  });

  test("accepted by its menu, the files that the user changed are sent, and it is closed", async () => {
    stage.server.answers.answer = { applied: true, message: "" };
    stage.editor.type(side("names.py"), "NAMES = ['moon']\r\n");
    await stage.run("accept", Uri.parse("multi-diff-editor:1"), { groupId: 0 });
    assert.deepEqual(stage.server.last("answer"), {
      session: SESSION,
      attempt: "attempt-1",
      verdict: "accepted",
      words: "",
      proposed: null,
      files: [{ uri: NAMES, text: "NAMES = ['moon']\n" }],
    });
    assert.deepEqual(diffs(stage), []);
    assert.equal(stage.editor.context.get("precisionShaking.severalInFront"), false);
  });

  test("shown again, it takes the place of the last and keeps what the user wrote", async () => {
    stage.editor.type(side("names.py"), "NAMES = ['moon']\n");
    stage.server.propose({ files: [{ ...CHANGED, base: "print('hi')\n" }, NEW] });
    await settled();
    assert.deepEqual(diffs(stage), ["step 1/2, attempt 1"]);
    assert.equal(side("names.py").text, "NAMES = ['moon']\n");
  });

  test("that changes one file only is shown as a plain diff of it", async () => {
    stage.server.propose({ attempt: "attempt-2", cycle: 2, files: [NEW] });
    await settled();
    assert.deepEqual(diffs(stage), ["names.py: step 1/2, attempt 2"]);
    assert.equal(stage.editor.context.get("precisionShaking.severalInFront"), false);
  });

  test("of the past can be read in one diff, too", async () => {
    stage.server.event({ kind: "feedback_read", attempt: "attempt-1", verdict: "redo", decided_by: "user", words: "" });
    await settled();
    await stage.run("openAttempt", SESSION, "attempt-1");
    assert.equal(diffs(stage).at(-1), "step 1/2, attempt 1 (past)");
  });

  test("goes with its session, and so does a changed file that the editor opened beside; nobody is asked to save it", async () => {
    const changed = side("names.py");
    stage.editor.type(changed, "NAMES = ['moon']\n");
    stage.editor.tabs.push({ label: "names.py", input: new TabInputText(changed.uri) });
    await stage.run("stop");
    assert.deepEqual([diffs(stage), changed.isDirty], [[], false]);
  });
});

function rightSides(): readonly FakeDocument[] {
  return stage.editor.documents.filter(({ uri }) => uri.scheme === "precision-shaking-proposal");
}

function side(name: string): FakeDocument {
  const found = rightSides().find(({ uri }) => uri.path.endsWith(`/${name}`));
  assert.ok(found, name);
  return found;
}
