/** What a dragged tab carries: `{group, file}` as JSON. */
export const TAB_TYPE = "application/x-tandem-tab";
