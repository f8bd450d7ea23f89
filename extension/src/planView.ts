/** The tree of steps and attempts. */

import * as vscode from "vscode";

import type { Verdict } from "./events";
import type { SessionBook } from "./sessionBook";
import type { Attempt, Session, Step } from "./sessions";
import { count, fileName, outcomeText, spoken, stepOf } from "./wording";

/** One line of the tree, and what is below it. */
export interface PlanNode {
  readonly id: string;
  readonly label: string;
  readonly description: string;
  readonly icon: string;
  readonly tooltip?: string;
  readonly context: string;
  readonly command?: vscode.Command;
  readonly expanded?: boolean;
  readonly children: readonly PlanNode[];
}

export class PlanView implements vscode.TreeDataProvider<PlanNode>, vscode.Disposable {
  private readonly changes = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.changes.event;
  private readonly listening: vscode.Disposable;

  constructor(private readonly book: SessionBook) {
    this.listening = book.onDidChange(() => {
      this.changes.fire();
    });
  }

  getChildren(node?: PlanNode): PlanNode[] {
    // The newest session is the one that is looked for.
    return [...(node ? node.children : this.book.all().map(sessionNode).reverse())];
  }

  getTreeItem(node: PlanNode): vscode.TreeItem {
    const { None, Collapsed, Expanded } = vscode.TreeItemCollapsibleState;
    const open = node.expanded ? Expanded : Collapsed;
    const item = new vscode.TreeItem(node.label, node.children.length === 0 ? None : open);
    item.id = node.id;
    item.description = node.description;
    item.iconPath = new vscode.ThemeIcon(node.icon);
    item.tooltip = node.tooltip;
    item.accessibilityInformation = spoken(node);
    item.contextValue = node.context;
    item.command = node.command;
    return item;
  }

  dispose(): void {
    this.listening.dispose();
    this.changes.dispose();
  }
}

const PHASE_ICONS = { thinking: "loading~spin", waiting: "git-compare", stuck: "question", over: "check-all" };
const STEP_ICONS = { pending: "circle-large-outline", current: "arrow-circle-right", accepted: "pass-filled", skipped: "circle-slash" };
const FATE_ICONS: Readonly<Record<Attempt["fate"], string>> = {
  running: "loading~spin",
  failed: "error",
  waiting: "git-compare",
  accepted: "pass",
  redo: "discard",
  further_edit: "edit",
  dropped: "circle-slash",
};
const FATE_WORDS: Readonly<Record<Attempt["fate"], string>> = {
  running: "running",
  failed: "failed when run",
  waiting: "waits for your answer",
  accepted: "accepted",
  redo: "redone",
  further_edit: "edited further",
  dropped: "not answered",
};

const VERDICTS: Readonly<Record<Verdict, true>> = { accepted: true, redo: true, further_edit: true };

export function sessionNode(session: Session): PlanNode {
  const over = session.phase === "over";
  const now = over ? `${session.status}, ${count(session.rows, "row")}` : [session.doing, stepOf(session)].join(" ").trim();
  return {
    // The editor remembers what is open by its id, and does not open what had nothing below it.
    id: session.steps.length === 0 ? session.uid : `${session.uid}/plan`,
    label: session.request || fileName(session.uri),
    description: `${fileName(session.uri)} · ${now}`,
    icon: over && session.status !== "done" ? "circle-slash" : PHASE_ICONS[session.phase],
    tooltip: session.request,
    context: over ? "sessionOver" : session.phase === "thinking" ? "session" : "sessionWaiting",
    expanded: !over,
    children: session.steps.map((step, index) => stepNode(session, step, index)),
  };
}

function stepNode(session: Session, step: Step, index: number): PlanNode {
  const attempts = step.attempts.length;
  return {
    id: `${session.uid}/${index}${attempts === 0 ? "/untried" : ""}`,
    label: `${index + 1}. ${step.text}`,
    description: `${attempts === 0 ? "" : count(attempts, "attempt")}${doneByHand(step) ? ", then by hand" : ""}`,
    icon: STEP_ICONS[step.state],
    tooltip: step.text,
    context: "step",
    expanded: step.state === "current",
    children: step.attempts.map((attempt) => attemptNode(session, attempt)),
  };
}

function doneByHand({ state, attempts }: Step): boolean {
  return state === "accepted" && attempts.length > 0 && attempts.every(({ fate }) => fate !== "accepted");
}

function attemptNode(session: Session, attempt: Attempt): PlanNode {
  const shown = attempt.proposal !== undefined;
  const reasoning = attempt.proposal?.reasoning ?? "";
  return {
    id: `${session.uid}/${attempt.uid}`,
    label: `Attempt ${attempt.cycle}`,
    description: attempt.fate === "failed" ? FATE_WORDS.failed : `${FATE_WORDS[attempt.fate]}, ${outcomeText(attempt.outcome)}`,
    icon: FATE_ICONS[attempt.fate],
    tooltip: [reasoning, attempt.output].filter((part) => part !== "").join("\n\n"),
    // Of what was answered, the answer can be corrected.
    context: Object.hasOwn(VERDICTS, attempt.fate) ? "attemptAnswered" : shown ? "attemptShown" : "attempt",
    command: shown
      ? { title: "Show This Attempt", command: "precisionShaking.openAttempt", arguments: [session.uid, attempt.uid] }
      : undefined,
    children: [],
  };
}
