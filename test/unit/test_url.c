/* SPDX-License-Identifier: Apache-2.0 */
#include "net/url.h"

#include <criterion/criterion.h>
#include <string.h>

static struct fixture {
    struct url url, base;
    struct clip_error err;
} f;

static void set_up(void)
{
    memset(&f, 0, sizeof(f));
}

static void tear_down(void)
{
    url_fini(&f.url);
    url_fini(&f.base);
}

TestSuite(url, .init = set_up, .fini = tear_down);

static void parse(const char *text)
{
    cr_assert_eq(url_parse(text, &f.url, &f.err), 0, "%s: %s", text, f.err.message);
}

static void refuse(const char *text)
{
    cr_assert_eq(url_parse(text, &f.url, &f.err), -EINVAL, "%s was taken", text);
    cr_assert_neq(f.err.message[0], '\0');
}

Test(url, is_taken_apart)
{
    parse("HTTPS://user:p%40ss@Registry.Example.com:5443/v2/a?x=1&y=2#part");
    cr_assert(f.url.tls);
    cr_assert_str_eq(f.url.host, "registry.example.com");
    cr_assert_eq(f.url.port, 5443);
    cr_assert_str_eq(f.url.target, "/v2/a?x=1&y=2");
    cr_assert_str_eq(f.url.userinfo, "user:p@ss");
    cr_assert_str_eq(f.url.origin, "https://registry.example.com:5443");
}

Test(url, shows_neither_user_nor_query)
{
    parse("https://user:secret@host/path?sig=secret");
    cr_assert_str_eq(f.url.shown, "https://host/path");
}

Test(url, has_default_ports_and_a_path)
{
    parse("http://host?x");
    cr_assert_eq(f.url.port, 80);
    cr_assert_str_eq(f.url.target, "/?x");
    cr_assert_str_eq(f.url.origin, "http://host:80");
}

Test(url, keeps_a_port_that_is_not_the_default_in_its_authority)
{
    char *text;

    parse("http://[::1]:5000/");
    cr_assert_str_eq(f.url.host, "::1");
    text = url_authority(&f.url, false);
    cr_assert_str_eq(text, "[::1]:5000");
    free(text);
}

Test(url, refuses_what_could_be_read_in_two_ways)
{
    static const char *const bad[] = {
        "",
        "ftp://host/",
        "http://",
        "http:///path",
        "http://host:0/",
        "http://h:x",
        "http://h:99999/",
        "http://h:/",
        "http://a b/",
        "http://h/\r\nX: y",
        "http://h/\x7f",
        "http://[zz]/",
        "http://[::1/",
        "http://a\\b/",
        "http://%41/",
        "http://u%00@h/",
        "http://u%4@h/",
        "http://u%zz@h/",
        "http://-h/",
        "//host/path",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        refuse(bad[i]);
}

Test(url, refuses_hosts_and_texts_without_end)
{
    static char text[URL_MAX + 32] = "http://";

    memset(text + 7, 'a', URL_HOST_MAX + 1);
    refuse(text);
    memset(text + 7, 'a', URL_MAX);
    refuse(text);
}

static void resolve(const char *location, const char *expected)
{
    struct url url;

    cr_assert_eq(url_resolve(&f.base, location, &url, &f.err), 0, "%s", f.err.message);
    cr_assert_eq(strncmp(url.origin, expected, strlen(url.origin)), 0, "%s", url.origin);
    cr_assert_str_eq(url.target, expected + strlen(url.origin));
    url_fini(&url);
}

Test(url, resolves_locations)
{
    cr_assert_eq(url_parse("https://h:444/v2/a/b?q=1", &f.base, NULL), 0);
    resolve("http://other/x", "http://other:80/x");
    resolve("//other/x", "https://other:443/x");
    resolve("/x?y", "https://h:444/x?y");
    resolve("c", "https://h:444/v2/a/c");
    resolve("?z=2", "https://h:444/v2/a/b?z=2");
    cr_assert_eq(url_resolve(&f.base, "gopher://x/", &f.url, &f.err), -EINVAL);
    cr_assert_eq(url_resolve(&f.base, "javascript:x", &f.url, &f.err), -EINVAL);
}

Test(url, tells_origins_apart)
{
    parse("https://host/a");
    cr_assert_eq(url_parse("https://HOST:443/b", &f.base, NULL), 0);
    cr_assert(url_same_origin(&f.url, &f.base));
    url_fini(&f.base);
    cr_assert_eq(url_parse("http://host:443/a", &f.base, NULL), 0);
    cr_assert_not(url_same_origin(&f.url, &f.base));
}

Test(url, knows_loopback)
{
    cr_assert(url_host_is_loopback("localhost"));
    cr_assert(url_host_is_loopback("a.LOCALHOST"));
    cr_assert(url_host_is_loopback("127.9.9.9"));
    cr_assert(url_host_is_loopback("::1"));
    cr_assert_not(url_host_is_loopback("localhost.example.com"));
    cr_assert_not(url_host_is_loopback("127.0.0.1.example.com"));
    cr_assert_not(url_host_is_loopback("notlocalhost"));
    cr_assert_not(url_host_is_loopback("10.0.0.1"));
}
