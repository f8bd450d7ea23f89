/** A real environment with a real, tiny wheel in it; nothing is fetched. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import * as path from "node:path";
import { afterEach, beforeEach, test } from "node:test";

import { install } from "../src/install";
import { findInterpreter } from "../src/python";
import { newEditor } from "./fakeVscode";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "precision-shaking-"));
  newEditor();
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

test("the package gets an environment of its own, which is then the one that is used", async () => {
  const storage = path.join(folder, "storage");
  const wheel = path.join(folder, "dist", "wheel", "precision_shaking-0.0.1-py3-none-any.whl");
  mkdirSync(path.dirname(wheel), { recursive: true });
  execFileSync("python3", ["-c", MAKE_WHEEL, wheel]);
  const lines: string[] = [];
  await install({ extension: folder, storage, extras: ["agents"] }, (line) => void lines.push(line));
  const found = await findInterpreter(storage, () => undefined);
  assert.equal(found.source, "the installed environment");
  assert.match(lines.join("\n"), /-m pip install/);
});

const MAKE_WHEEL = `
import sys, zipfile
info = "precision_shaking-0.0.1.dist-info"
files = {
    "precision_shaking/__init__.py": "",
    f"{info}/METADATA": "Metadata-Version: 2.1\\nName: precision-shaking\\nVersion: 0.0.1\\nProvides-Extra: agents\\n",
    f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: tests\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}
record = "".join(f"{name},,\\n" for name in [*files, f"{info}/RECORD"])
with zipfile.ZipFile(sys.argv[1], "w") as wheel:
    for name, text in {**files, f"{info}/RECORD": record}.items():
        wheel.writestr(name, text)
`;
