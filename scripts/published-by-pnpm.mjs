// Runs before a package is published. npm would publish `workspace:^` as it is, and nobody could install the package: pnpm writes the
// real versions in its place.
const agent = process.env.npm_config_user_agent ?? '';
if (!agent.startsWith('pnpm/')) {
  console.error(
    `expected to be published by pnpm, found ${agent === '' ? 'none' : agent}: pnpm -r publish --access public`,
  );
  process.exitCode = 1;
}
