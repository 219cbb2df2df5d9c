/** The whole page. */
export function App() {
  return <main>Tandem</main>;
}
