/*
 * GET /: a page for a browser that shows what /status and /metrics say, second by second (docs/operating.md).
 *
 * The page is dashboard.html; tools/embed_page.py makes these of it. It needs nothing but the runtime itself, and texts
 * of the function become text nodes only.
 */
#ifndef ASYA_SUPERVISOR_DASHBOARD_H
#define ASYA_SUPERVISOR_DASHBOARD_H

extern const char dashboard_type[]; /* for desk_reply.type */
extern const char dashboard_text[];

#endif
