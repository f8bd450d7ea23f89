/** How things are called on the screen. */

import type { Proposal } from "./protocol";
import type { Pause, Session } from "./sessions";

/** The document's own name, from its URI. */
export function fileName(uri: string): string {
  const path = uri.replace(/[?#].*$/, "");
  const last = decodeURIComponent(path.slice(Math.max(path.lastIndexOf("/"), path.lastIndexOf(":")) + 1));
  // An untitled document has no ending, and the ending is what colours the diff.
  return last.includes(".") ? last : `${last}.py`;
}

/** "script.py: step 1/2, attempt 2"; of several files only the place, as the editor says how many there are. */
export function diffTitle(proposal: Proposal): string {
  const [first, second] = proposal.files;
  const name = second ? "" : `${fileName(first?.uri ?? proposal.uri)}: `;
  return `${name}step ${proposal.step + 1}/${proposal.steps}, attempt ${proposal.cycle}`;
}

/** "script.py: step 1/2, by hand" */
export function handTitle(session: Session): string {
  return `${fileName(session.uri)}: ${stepOf(session)}, by hand`;
}

/** "step 1/2", or nothing before there is a plan. */
export function stepOf(session: Session): string {
  return session.step < 0 ? "" : `step ${session.step + 1}/${session.steps.length}`;
}

const TROUBLES: Readonly<Record<string, string>> = {
  busy: "is busy",
  failing: "has a fault",
  unreachable: "does not answer",
  broken: "broke off its answer",
};

/** "openai/gpt-4o is busy, next try in 12 s" */
export function pauseText({ teacher, trouble }: Pause, seconds: number): string {
  return `${teacher} ${TROUBLES[trouble] ?? "could not answer"}, next try in ${Math.ceil(seconds)} s`;
}

/** What the status bar says of a session: "worker is writing… step 1/2"; `left` are the seconds of its pause. */
export function statusText(session: Session, left = 0): string {
  if (session.pause) {
    return `$(watch) ${pauseText(session.pause, left)}`;
  }
  const icon = { thinking: "$(loading~spin)", waiting: "$(git-compare)", stuck: "$(question)", over: "$(check)" };
  const dots = session.phase === "thinking" ? "…" : ":";
  const step = stepOf(session);
  return `${icon[session.phase]} ${session.doing}${step ? `${dots} ${step}` : "…"}`;
}

/** How a script's execution ended, for a person. */
export function outcomeText(outcome: string): string {
  const words: Record<string, string> = {
    ok: "ran without errors",
    script_error: "failed",
    timeout: "ran out of time",
    limit: "hit a limit",
    sandbox_denied: "could not be run in the sandbox",
    sandbox_unavailable: "was not run",
    cancelled: "was cancelled",
  };
  return words[outcome] ?? outcome;
}

/** "1 row", "2 rows" */
export function count(number: number, word: string): string {
  return `${number} ${word}${number === 1 ? "" : "s"}`;
}

/** "246 kB", "3.1 GB" */
export function size(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  const value = bytes / 1000 ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power] ?? ""}`;
}

/** What a screen reader says of a line; left to itself the editor would have it say the tooltip alone. */
export function spoken({ label, description }: { readonly label: string; readonly description: string }): { label: string } {
  return { label: [label, description].filter((part) => part !== "").join(", ") };
}
