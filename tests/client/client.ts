// What a program in TypeScript does with the API. It is type-checked, not run: `make test-client`.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Recommendation = components["schemas"]["RecommendationItem"];

const api = createClient<paths>({
  baseUrl: "https://plumbline.contoso.example",
  headers: { Authorization: "Bearer plk_0123456789abcdef_secret" },
});

export async function failing(instance: string): Promise<Recommendation[]> {
  const found: Recommendation[] = [];
  let cursor: string | undefined;
  do {
    const { data, error } = await api.GET("/v1/recommendations", {
      params: { query: { instance: [instance], outcome: ["FAIL"], sort: "points_left", cursor } },
    });
    if (error) throw new Error(error.detail);
    found.push(...data.items);
    cursor = data.next_cursor ?? undefined;
  } while (cursor !== undefined);
  return found;
}

export async function accept(item: Recommendation, until: Date): Promise<string> {
  const path = { instance: item.instance, control: item.control_id };
  const { data: known, response } = await api.GET("/v1/recommendations/{instance}/{control}/status", {
    params: { path },
  });
  if (known === undefined) throw new Error(`HTTP ${response.status}`);
  const { data, error } = await api.PUT("/v1/recommendations/{instance}/{control}/status", {
    params: { path, header: { "if-match": response.headers.get("ETag") ?? undefined } },
    body: { status: "risk_accepted", note: "A test org.", expires_at: until.toISOString() },
  });
  if (error) throw new Error(error.errors?.map((each) => `${each.at}: ${each.message}`).join("; ") ?? error.detail);
  return data.decision?.author ?? "nobody";
}

export async function percentage(): Promise<number> {
  const { data } = await api.GET("/v1/secure-score", { params: { header: { "If-None-Match": '"known"' } } });
  return data?.percentage ?? Number.NaN;
}

export async function mistakes(): Promise<void> {
  // @ts-expect-error there is no such path
  await api.GET("/v1/recommendation");
  // @ts-expect-error there is no such outcome
  await api.GET("/v1/recommendations", { params: { query: { outcome: ["WRONG"] } } });
  // @ts-expect-error `since` is needed
  await api.GET("/v1/history/compare", { params: { query: {} } });
  // @ts-expect-error nobody decides that something is completed
  await api.PUT("/v1/controls/{control}/status-template", { params: { path: { control: "x" } }, body: { status: "completed" } });
  const { data } = await api.GET("/v1/keys");
  // @ts-expect-error `created_by` may be null
  const author: string | undefined = data?.items[0]?.created_by;
  void author;
}
