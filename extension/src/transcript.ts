/** What the agents write, as they write it. */

import type * as vscode from "vscode";

import type { EventOf, SessionEvent } from "./events";
import { count, outcomeText } from "./wording";

export class Transcript {
  private field = "";

  constructor(private readonly output: Pick<vscode.OutputChannel, "append">) {}

  /** Write down an event as far as a reader would care. */
  add(event: SessionEvent): void {
    if (event.kind === "agent_text") {
      this.output.append(this.heading(event.field) + event.text);
      return;
    }
    const line = transcriptLine(event);
    if (line !== undefined) {
      this.output.append(`\n${line}\n`);
      this.field = "";
    }
  }

  private heading(field: string): string {
    const heading = field === "" || field === this.field ? "" : `\n[${field}]\n`;
    this.field = field;
    return heading;
  }
}

/** The line that an event is worth, if it is worth one. */
export function transcriptLine(event: SessionEvent): string | undefined {
  switch (event.kind) {
    case "session_started":
      return `━━ ${event.request}  (${event.document}; teachers: ${event.teachers.join(", ")})`;
    case "agent_started":
      return `── ${event.agent} · ${event.teacher}`;
    case "plan_ready":
      return event.steps.map((step, index) => `${index + 1}. ${step}`).join("\n");
    case "step_started":
      return `━━ step ${event.step + 1}: ${event.text}`;
    case "instruction_ready":
      return `instruction, cycle ${event.cycle}: ${event.instruction}`;
    case "answer_unreadable":
      return `✗ ${event.why}`;
    case "attempt_executed":
      return [`the script ${outcomeText(event.outcome)} (${event.backend}, ${event.seconds.toFixed(1)} s)`, event.detail, event.output]
        .filter((part) => part !== "")
        .join("\n");
    case "feedback_read":
      return `${event.decided_by === "user" ? "you" : "read as"}: ${event.verdict} ${event.words}`;
    case "row_written":
      return `row ${event.rows}: ${event.reason ?? "accepted at once"}${event.soft_labels ? ", with soft labels" : ""}`;
    case "step_accepted":
      return `✓ step ${event.step + 1} accepted`;
    case "step_restored":
      return `step ${event.step + 1} was accepted before`;
    case "teacher_waiting":
      return `… ${event.why} Asking again in ${event.seconds.toFixed(0)} s.`;
    case "teacher_switched":
      return `the next teacher is ${event.teacher}`;
    case "help_needed":
      return `? ${event.text}`;
    case "session_finished":
      return [
        `━━ ${event.status}: ${count(event.rows, "row")}, ${event.soft_labels} of them with soft labels`,
        `${event.calls} calls, ${event.input_tokens} tokens in, ${event.output_tokens} out${money(event)}`,
      ].join("\n");
    case "session_failed":
      return `━━ ${event.message}`;
    case "scoring":
      return event.waiting > 0
        ? `${event.teacher} scores ${count(event.waiting, "text")}`
        : `${count(event.rows, "row")}, ${event.soft_labels} of them with soft labels now`;
    case "scoring_failed":
      return `✗ ${event.message}`;
    case "agent_text":
    case "agent_finished":
    case "proposal_ready":
      return undefined;
  }
}

function money({ cost_usd, unpriced_calls }: EventOf<"session_finished">): string {
  return cost_usd ? `, $${cost_usd.toFixed(4)}${unpriced_calls > 0 ? " or more" : ""}` : "";
}
