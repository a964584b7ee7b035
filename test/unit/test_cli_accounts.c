/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/accounts.h"

#include <criterion/criterion.h>
#include <string.h>

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
                             "# a comment\n\n:::\nbroken\nnumbers:x:12x:1::/:\n"
                             "huge:x:4294967295:1::/:\n"
                             "web:x:33:44:Web:/var/www:/bin/sh\n"
                             "1000:x:7:8::relative:/bin/sh\n"
                             "last:x:5:6::/home/last:/bin/sh";
static const char group[] = "root:x:0:\nweb:x:44:\nlog:x:4:other,web\nmore:x:50:web\n"
                            "near:x:51:webs,aweb\nbad:x:x:web\nshort:x\n";

static struct account a;
static struct clip_error err;

static void find(const char *user)
{
    cr_assert_eq(accounts_find(user, passwd, group, &a, &err), 0, "%s: %s", user, err.message);
}

static void refuse(const char *user)
{
    cr_assert_eq(accounts_find(user, passwd, group, &a, &err), -EINVAL, "%s was taken", user);
}

Test(cli_accounts, without_a_user_it_is_root)
{
    find(NULL);
    cr_assert_eq(a.uid, 0);
    cr_assert_str_eq(a.home, "/root");
    find("");
    cr_assert_eq(a.uid, 0);
}

Test(cli_accounts, a_name_has_group_groups_and_home)
{
    find("web");
    cr_assert_eq(a.uid, 33);
    cr_assert_eq(a.gid, 44);
    cr_assert_eq(a.n_groups, 2);
    cr_assert_eq(a.groups[0], 4);
    cr_assert_eq(a.groups[1], 50);
    cr_assert_str_eq(a.home, "/var/www");
}

Test(cli_accounts, a_number_that_is_there_is_that_user)
{
    find("33");
    cr_assert_eq(a.gid, 44);
    cr_assert_eq(a.n_groups, 2);
}

Test(cli_accounts, a_number_that_is_not_there_is_itself)
{
    find("4711");
    cr_assert_eq(a.uid, 4711);
    cr_assert_eq(a.gid, 0);
    cr_assert_eq(a.n_groups, 0);
}

Test(cli_accounts, a_name_of_digits_is_a_name)
{
    find("1000");
    cr_assert_eq(a.uid, 7);
    cr_assert_str_eq(a.home, "", "a relative home is none");
}

Test(cli_accounts, a_group_replaces_all_groups)
{
    find("web:log");
    cr_assert_eq(a.gid, 4);
    cr_assert_eq(a.n_groups, 0);
    find("web:12");
    cr_assert_eq(a.gid, 12);
    find(":log");
    cr_assert_eq(a.uid, 0);
    cr_assert_eq(a.gid, 4);
    find("web:");
    cr_assert_eq(a.gid, 44);
}

Test(cli_accounts, the_last_line_needs_no_newline)
{
    find("last");
    cr_assert_eq(a.uid, 5);
}

Test(cli_accounts, who_is_not_there_is_refused)
{
    refuse("nobody");
    refuse("web:nobody");
    refuse("numbers");
    refuse("huge");
    refuse("4294967295");
    refuse("99999999999999999999");
    refuse("-1");
    refuse("broken");
}

Test(cli_accounts, files_may_be_missing)
{
    cr_assert_eq(accounts_find("12:34", NULL, NULL, &a, &err), 0);
    cr_assert_eq(a.uid, 12);
    cr_assert_eq(a.gid, 34);
    cr_assert_eq(accounts_find("web", NULL, NULL, &a, &err), -EINVAL);
}
