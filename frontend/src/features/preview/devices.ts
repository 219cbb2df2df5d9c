/** Widths a page can be looked at in; null fills the pane. */
export const DEVICE_WIDTHS = { full: null, phone: 390, tablet: 768, desktop: 1280 } as const;

export type Device = keyof typeof DEVICE_WIDTHS;
