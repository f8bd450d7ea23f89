/** Which Python is used; the interpreters are real, if small, commands. */

import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";

import { bundledWheel } from "../src/install";
import { candidates, findInterpreter, installedPython, NoServerError, whyNot } from "../src/python";
import { run } from "../src/run";
import type { FakeEditor } from "./fakeEditor";
import { newEditor } from "./fakeVscode";

let folder: string;
let editor: FakeEditor;
const searchPath = process.env.PATH;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "precision-shaking-"));
  editor = newEditor();
});

afterEach(() => {
  process.env.PATH = searchPath;
  rmSync(folder, { recursive: true });
});

describe("the order of interpreters", () => {
  test("a setting is the only one", async () => {
    editor.settings = { interpreter: ["uv", "run", "python"] };
    command("environment/bin/python", 0);
    assert.deepEqual(await sources(), ["the setting"]);
    const [first] = await candidates(folder);
    assert.deepEqual([first?.command, first?.args], ["uv", ["run", "python"]]);
  });

  test("else the installed one, the Python extension's, and the search path's", async () => {
    assert.deepEqual(await sources(), ["the search path"]);
    editor.python = "/somewhere/python";
    command("environment/bin/python", 0);
    assert.deepEqual(await sources(), ["the installed environment", "the Python extension", "the search path"]);
  });

  test("the environment's interpreter lies where its platform wants it", () => {
    assert.equal(installedPython("/s", "linux"), path.join("/s", "environment", "bin", "python"));
    assert.equal(installedPython("/s", "win32"), path.join("/s", "environment", "Scripts", "python.exe"));
  });
});

describe("an interpreter is asked whether it can", () => {
  test("the first that can is taken", async () => {
    command("environment/bin/python", 1);
    editor.python = command("good", 0);
    assert.equal((await findInterpreter(folder, () => undefined)).command, editor.python);
  });

  test("when none can, the sentence says what to do, and the log names each and what is wrong with it", async () => {
    command("environment/bin/python", 1);
    editor.python = command("old", 3);
    process.env.PATH = folder;
    const refused: string[] = [];
    await assert.rejects(findInterpreter(folder, (why) => refused.push(why)), (error) => {
      assert.ok(error instanceof NoServerError);
      assert.match(error.message, /^Precision Shaking needs its Python package, which no Python here has: install .*, or choose /);
      return true;
    });
    assert.deepEqual(refused, [
      `${path.join(folder, "environment/bin/python")} (from the installed environment) does not have the package`,
      `${path.join(folder, "old")} (from the Python extension) is older than Python 3.11`,
      "python3 (from the search path) cannot be started",
    ]);
  });

  test("a setting that cannot is named in the sentence", async () => {
    editor.settings = { interpreter: [command("empty", 1)] };
    await assert.rejects(
      findInterpreter(folder, () => undefined),
      /^Error: The Python of your settings, .*empty, does not have the package: install the package, or choose /,
    );
  });

  test("too old, and not there", async () => {
    const source = "the setting";
    assert.match((await whyNot({ command: command("old", 3), args: [], source }, folder)) ?? "", /older than Python 3\.11/);
    assert.match((await whyNot({ command: "/no/such/python", args: [], source }, folder)) ?? "", /cannot be started/);
  });
});

describe("the package's own requirements", () => {
  const needs = (requirement: string): string => {
    mkdirSync(path.join(folder, "precision_shaking"), { recursive: true });
    writeFileSync(path.join(folder, "precision_shaking", "__init__.py"), "");
    const metadata = path.join(folder, "precision_shaking-0.0.1.dist-info");
    mkdirSync(metadata, { recursive: true });
    const lines = ["Metadata-Version: 2.1", "Name: precision-shaking", "Version: 0.0.1", `Requires-Dist: ${requirement}`, ""];
    writeFileSync(path.join(metadata, "METADATA"), lines.join("\n"));
    const script = path.join(folder, "isolated");
    writeFileSync(script, `#!/bin/sh\nPYTHONPATH='${folder}' exec python3 -S "$@"\n`);
    chmodSync(script, 0o755);
    return script;
  };

  test("an installation that lost one is told apart from none", async () => {
    const interpreter = { command: needs("nowhere-to-be-found>=2"), args: [], source: "the setting" } as const;
    assert.match((await whyNot(interpreter, folder)) ?? "", /without the packages it needs/);
  });

  test("what only an extra needs may be missing", async () => {
    const interpreter = { command: needs("nowhere-to-be-found>=2; extra == 'train'"), args: [], source: "the setting" } as const;
    assert.equal(await whyNot(interpreter, folder), undefined);
  });
});

describe("running a command", () => {
  test("its lines arrive and its exit code is a result", async () => {
    const lines: string[] = [];
    const { code, output } = await run("/bin/sh", ["-c", "echo one; echo two >&2; exit 4"], {
      onLine: (line) => void lines.push(line),
    });
    assert.equal(code, 4);
    assert.deepEqual(lines.sort(), ["one", "two"]);
    assert.match(output, /one/);
  });

  test("it can be aborted, and runs out of time", async () => {
    const abort = new AbortController();
    const aborted = run("/bin/sh", ["-c", "exec sleep 60"], { signal: abort.signal });
    abort.abort();
    await assert.rejects(aborted, /abort/i);
    await assert.rejects(run("/bin/sh", ["-c", "exec sleep 60"], { timeoutMs: 50 }), /was ended/);
  });
});

describe("the bundled wheel", () => {
  test("is the newest there is", async () => {
    mkdirSync(path.join(folder, "dist", "wheel"), { recursive: true });
    for (const name of ["precision_shaking-0.1.0-py3-none-any.whl", "precision_shaking-0.2.0-py3-none-any.whl", "notes.txt"]) {
      writeFileSync(path.join(folder, "dist", "wheel", name), "");
    }
    assert.equal(path.basename(await bundledWheel(folder)), "precision_shaking-0.2.0-py3-none-any.whl");
  });

  test("where there is none the user is told what to do instead", async () => {
    await assert.rejects(bundledWheel(folder), /choose that interpreter/);
  });
});

/** A command that exits with this code, whatever it is asked. */
function command(name: string, code: number): string {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, `#!/bin/sh\nexit ${code}\n`);
  chmodSync(file, 0o755);
  return file;
}

async function sources(): Promise<string[]> {
  return (await candidates(folder)).map(({ source }) => source);
}
