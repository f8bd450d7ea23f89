import * as vscode from "vscode";

import type { ServerSettings } from "./protocol";

export const SECTION = "precisionShaking";

/** Of the documents that a session can be started on. */
export const LANGUAGES: readonly string[] = ["python", "markdown", "plaintext", "restructuredtext", "asciidoc", "latex"];

/** The command that starts Python, as the user set it; empty when they leave it to us. */
export function interpreterSetting(): readonly string[] {
  return read<string[]>("interpreter", []).filter((part) => part.trim() !== "");
}

/** What the server has to know. */
export function serverSettings(): ServerSettings {
  return {
    teachers: read("teachers", ["embedded/smollm2"]),
    worker: read("worker", ""),
    maxAttempts: read("maxAttempts", 3),
    maxWholeLines: read("maxWholeLines", 350),
    database: read("database", ""),
    student: read("student", "smollm2"),
    trainingSteps: read("trainingSteps", 200),
    scorer: read("scorer", ""),
    execute: read("execute", true),
    instance: read("instance", "script"),
  };
}

function read<T>(name: string, fallback: T): T {
  return vscode.workspace.getConfiguration(SECTION).get<T>(name) ?? fallback;
}
