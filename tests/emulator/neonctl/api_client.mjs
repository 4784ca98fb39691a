// What a program does that was written for @neondatabase/api-client; prints what it got as JSON.
import { createApiClient } from "@neondatabase/api-client";

const api = createApiClient({ apiKey: process.env.NEON_API_KEY, baseURL: process.env.NEON_API_HOST });

const settled = async (projectId, operations) => {
  for (const { id } of operations) {
    let status = "";
    while (!["finished", "skipped"].includes(status)) {
      status = (await api.getProjectOperation(projectId, id)).data.operation.status;
    }
  }
};

const refused = async (call) => {
  try {
    await call();
  } catch (error) {
    return { status: error.response.status, ...error.response.data };
  }
  return null;
};

const me = (await api.getCurrentUserInfo()).data;
const { data: made } = await api.createProject({ project: { name: "by api-client" } });
const projectId = made.project.id;
await settled(projectId, made.operations);
const { data: dev } = await api.createProjectBranch(projectId, {
  branch: { name: "dev" },
  endpoints: [{ type: "read_write" }],
  annotation_value: { "github-commit-ref": "main" },
});
await settled(projectId, dev.operations);
const branchId = dev.branch.id;
const { data: listed } = await api.listProjectBranches({ projectId, search: "dev", limit: 10 });
const { data: role } = await api.createProjectBranchRole(projectId, branchId, { role: { name: "clerk" } });
await settled(projectId, role.operations);
const { data: database } = await api.createProjectBranchDatabase(projectId, branchId, {
  database: { name: "ledger", owner_name: "clerk" },
});
await settled(projectId, database.operations);
const { data: uri } = await api.getConnectionUri({
  projectId,
  branch_id: branchId,
  database_name: "ledger",
  role_name: "clerk",
});
const taken = await refused(() => api.createProjectBranch(projectId, { branch: { name: "dev" } }));
const { data: schema } = await api.getProjectBranchSchema({ projectId, branchId, db_name: "neondb" });
const { data: compared } = await api.getProjectBranchSchemaComparison({ projectId, branchId, db_name: "neondb" });
const { data: reset } = await api.restoreProjectBranch(projectId, branchId, { source_branch_id: made.branch.id });
await settled(projectId, reset.operations);
const { data: count } = await api.countProjectBranches({ projectId });
const { data: found } = await api.getProjectBranch(projectId, branchId);

console.log(
  JSON.stringify({
    me: me.id,
    project: projectId,
    main: made.connection_uris[0].connection_uri,
    dev: dev.connection_uris[0].connection_uri,
    annotation: listed.annotations[branchId].value,
    listed: listed.branches.map(({ name }) => name),
    password: role.role.password,
    ledger: uri.uri,
    taken,
    sql: schema.sql,
    diff: compared.diff ?? "",
    count: count.count,
    reset: found.branch.last_reset_at,
  }),
);
