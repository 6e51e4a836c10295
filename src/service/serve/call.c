#include "base/alloc.h"
#include "base/fd.h"
#include "service/serve/server-internal.h"
#include "wire/serve/packet.h"

const call_handler call_handlers[SERVE_OP_COUNT_] = {
    [SERVE_LOGIN] = login_call,
    [SERVE_CHECK] = check_call,
    [SERVE_MANIFEST_GET] = manifest_get_call,
    [SERVE_MANIFEST_PUT] = manifest_put_call,
    [SERVE_MANIFEST_DELETE] = manifest_delete_call,
    [SERVE_BLOB_GET] = blob_get_call,
    [SERVE_BLOB_DELETE] = blob_delete_call,
    [SERVE_BLOB_MOUNT] = blob_mount_call,
    [SERVE_UPLOAD_BEGIN] = upload_begin_call,
    [SERVE_UPLOAD_WRITE] = upload_write_call,
    [SERVE_UPLOAD_WROTE] = upload_wrote_call,
    [SERVE_UPLOAD_STATUS] = upload_status_call,
    [SERVE_UPLOAD_COMMIT] = upload_commit_call,
    [SERVE_UPLOAD_CANCEL] = upload_cancel_call,
    [SERVE_TAGS] = tags_call,
    [SERVE_CATALOG] = catalog_call,
    [SERVE_REFERRERS] = referrers_call,
};

void call_answer(struct call *c)
{
    _cleanup_free_ char *text = serve_reply_encode(&c->a);
    /* Whoever does not listen any more, or passed something else than a socket, gets nothing. */
    (void)!packet_send(c->reply_fd, text, c->fd);
    close_fd(c->reply_fd);
    close_fd(c->fd);
    serve_request_done(&c->q);
    serve_reply_done(&c->a);
    free(c);
}

enum call_state call_refuse(struct call *c, enum serve_problem p)
{
    c->fd = close_fd(c->fd);
    c->a.problem = p;
    return CALL_DONE;
}

enum call_state call_refuse_why(struct call *c, enum serve_problem p, const char *why)
{
    xreplace(&c->a.message, why);
    return call_refuse(c, p);
}

enum call_state call_failed(struct call *c, const struct error *err)
{
    server_note(c->server, "%s: %s", serve_op_name(c->q.op), err->msg);
    return call_refuse(c, err->code == ENOSPC || err->code == EDQUOT ? PROBLEM_FULL
                                                                     : PROBLEM_INTERNAL);
}
