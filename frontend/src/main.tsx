import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { showStoredTheme } from "@/features/settings/theme";
import { App } from "@/pages/App";
import "@/app/theme.css";
import "@/app/base.css";

// Before the first drawing, so that the page does not flash in the other theme.
showStoredTheme();

const root = document.getElementById("root");
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
