#include "server/peer.h"

#include "base/log.h"
#include "server/hangup.h"
#include "server/rights.h"

#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint32_t uid_unknown = UINT32_MAX; /* the kernel's value for no user, too */

static uint32_t peer_uid(int fd)
{
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 && size == sizeof credentials;
    return known ? credentials.uid : uid_unknown;
}

static bool peer_is_listed(uint32_t uid, const struct option_uids *allowed)
{
    for (uint32_t i = 0; i < allowed->count; i++) {
        if (allowed->uids[i] == uid) {
            return uid != uid_unknown;
        }
    }
    return uid == geteuid() && uid != uid_unknown;
}

bool peer_is_allowed(int fd, const struct option_uids *allowed)
{
    return allowed == NULL || allowed->count == 0 || peer_is_listed(peer_uid(fd), allowed);
}

bool peer_admit_listed(int *fd, const struct option_uids *allowed)
{
    static uint32_t last_refused = UINT32_MAX;
    if (peer_is_allowed(*fd, allowed)) {
        return true;
    }
    uint32_t uid = peer_uid(*fd);
    if (uid != last_refused) {
        last_refused = uid;
        log_client(EVENT_CLIENT_REFUSED, "ASYA_ALLOWED_UIDS", "connections of user id %u are refused", uid);
    }
    rights_keep_in_line(*fd);
    (void)hangup(fd);
    return false;
}
