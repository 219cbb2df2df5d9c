/** The mark: two carets side by side, as in two people typing. */
export function Logo({ size = 22 }: { size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      strokeWidth="2.6"
      strokeLinecap="round"
      aria-hidden
    >
      <path d="M4 4h6M4 20h6M7 4v16" stroke="var(--brand-a)" />
      <path d="M14 8h6M14 20h6M17 8v12" stroke="var(--brand-b)" />
    </svg>
  );
}
