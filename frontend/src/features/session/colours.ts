/** Colours people can choose; each tells carets apart on dark and on light. */
export const COLOURS = [
  "#e5484d",
  "#f76b15",
  "#d9a100",
  "#46a758",
  "#12a594",
  "#0091d5",
  "#3e63dd",
  "#8e4ec6",
  "#d6409f",
  "#a18072",
];
