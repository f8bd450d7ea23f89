/** What the user's dataset holds, counted. */

import * as vscode from "vscode";

import type { DatasetStats } from "./protocol";
import { count, size } from "./wording";

interface Line {
  readonly label: string;
  readonly description: string;
  readonly icon: string;
  readonly tooltip?: string;
}

export class DatasetView implements vscode.TreeDataProvider<Line>, vscode.Disposable {
  private readonly changes = new vscode.EventEmitter<void>();
  readonly onDidChangeTreeData = this.changes.event;
  private lines: readonly Line[] = [];

  show(stats: DatasetStats): void {
    this.lines = datasetLines(stats);
    this.changes.fire();
  }

  getChildren(line?: Line): Line[] {
    return line ? [] : [...this.lines];
  }

  getTreeItem(line: Line): vscode.TreeItem {
    const item = new vscode.TreeItem(line.label);
    item.description = line.description;
    item.iconPath = new vscode.ThemeIcon(line.icon);
    item.tooltip = line.tooltip;
    return item;
  }

  dispose(): void {
    this.changes.dispose();
  }
}

export function datasetLines(stats: DatasetStats): Line[] {
  const reasons = Object.entries(stats.byReason).map(([reason, rows]) => ({
    label: reason.replace("_", " "),
    description: count(rows, "rejected answer"),
    icon: "thumbsdown",
  }));
  const teachers = Object.entries(stats.byTeacher).map(([teacher, rows]) => ({
    label: teacher,
    description: count(rows, "chosen answer"),
    icon: "mortar-board",
  }));
  return [
    { label: count(stats.rows, "row"), description: "ready to train on", icon: "database", tooltip: stats.path },
    { label: count(stats.openRows, "open row"), description: "the step is not accepted yet", icon: "circle-large-outline" },
    { label: `${stats.withSoftLabels} with soft labels`, description: `of ${stats.rows}`, icon: "graph" },
    { label: `${stats.withRejected} with a rejected answer`, description: `of ${stats.rows}`, icon: "split-horizontal" },
    ...reasons,
    ...teachers,
    {
      label: count(stats.sessions, "session"),
      description: `${count(stats.steps, "step")}, ${count(stats.attempts, "attempt")}`,
      icon: "history",
    },
    { label: size(stats.sizeBytes), description: stats.path, icon: "file", tooltip: stats.path },
  ];
}
