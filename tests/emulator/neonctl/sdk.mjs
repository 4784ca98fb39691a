// What a program does that was written for @neon/sdk; prints what it got as JSON.
import { createNeonClient } from "@neon/sdk";

const neon = createNeonClient({
  apiKey: process.env.NEON_API_KEY,
  baseUrl: process.env.NEON_API_HOST,
  throwOnError: true,
  wait: { pollIntervalMs: 50 },
});

const { project, connectionString: main } = await neon.projects.createAndConnect({ name: "by sdk" });
const projectId = project.id;
const standard = await neon.branches.getDefault({ projectId });
const { branch, connectionString: dev } = await neon.branches.createAndConnect({
  projectId,
  name: "dev",
  parentId: standard.id,
  compute: { minCu: 0.25, maxCu: 1 },
});
const branchId = branch.id;
const listed = await neon.branches.list({ projectId }).all();
const missing = await neon.branches.get({ projectId, branchId: "br-no-branch-a1b2c3d4" }, { throwOnError: false });
const role = await neon.postgres.roles.create({ projectId, branchId, name: "clerk" }, { waitForReadiness: true });
await neon.postgres.databases.create(
  { projectId, branchId, name: "ledger", owner_name: "clerk" },
  { waitForReadiness: true },
);
const ledger = await neon.postgres.connectionString({
  projectId,
  branchId,
  databaseName: "ledger",
  roleName: "clerk",
});
const { diff } = await neon.branches.compareSchema({ projectId, branchId, databaseName: "neondb" });
const reset = await neon.branches.resetFromParent({ projectId, branchId }, { waitForReadiness: true });
const [endpoint] = await neon.postgres.endpoints.listByBranch({ projectId, branchId });
const suspended = await neon.postgres.endpoints.suspend(
  { projectId, endpointId: endpoint.id },
  { waitForReadiness: true },
);
const expires = await neon.branches.update({
  projectId,
  branchId,
  expires_at: new Date(Date.now() + 86_400_000).toISOString(),
});

console.log(
  JSON.stringify({
    project: projectId,
    main,
    dev,
    default: standard.default,
    listed: listed.map(({ name }) => name).sort(),
    missing: { kind: missing.error.kind, status: missing.error.status, request: missing.error.requestId },
    password: role.password,
    ledger,
    diff: diff ?? "",
    reset: reset.id,
    suspended: suspended.id === endpoint.id,
    expires: expires.expires_at,
  }),
);
