/** The mark: two carets side by side, as in two people typing. */
export function Logo({ size = 22 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 24 24" fill="none" aria-hidden>
      <path
        d="M5 3.5c2.4 0 3.5 1.1 3.5 3v11c0 1.9-1.1 3-3.5 3M12 3.5c-2.4 0-3.5 1.1-3.5 3M12 20.5c-2.4 0-3.5-1.1-3.5-3M6 12h5"
        stroke="var(--brand-a)"
        strokeWidth="2.2"
        strokeLinecap="round"
      />
      <path
        d="M16.5 6.5v11M13.8 6.5h5.4M13.8 17.5h5.4"
        stroke="var(--brand-b)"
        strokeWidth="2.2"
        strokeLinecap="round"
      />
    </svg>
  );
}
