// Runs before a package is published. npm would publish `workspace:^` literally, which cannot be installed: pnpm
// replaces it by the real version.
const agent = process.env.npm_config_user_agent ?? '';
if (!agent.startsWith('pnpm/')) {
  console.error(
    `expected to be published by pnpm, found ${agent === '' ? 'none' : agent}: pnpm -r publish --access public`,
  );
  process.exitCode = 1;
}
