# ANOMALYD_LIBRARY(NAME, PKG-CONFIG MODULE, DEBIAN PACKAGE): finds a library, remembers a missing one.
AC_DEFUN([ANOMALYD_LIBRARY], [
    PKG_CHECK_MODULES([$1], [$2], [], [anomalyd_missing="$anomalyd_missing
    $2  (Debian: $3)"])
])

# Ends configure with the list of all that ANOMALYD_LIBRARY did not find.
AC_DEFUN([ANOMALYD_REPORT_MISSING], [
    AS_IF([test -n "$anomalyd_missing"], [AC_MSG_ERROR([missing libraries:$anomalyd_missing
Install the named Debian packages, or run ./bootstrap, which does.])])
])

# ANOMALYD_CFLAGS(VARIABLE, FLAGS): puts those flags into VARIABLE that the compiler takes.
AC_DEFUN([ANOMALYD_CFLAGS], [
    $1=""
    anomalyd_saved_cflags=$CFLAGS
    for flag in m4_normalize([$2]); do
        CFLAGS="$anomalyd_saved_cflags -Werror $flag"
        AC_MSG_CHECKING([whether $CC takes $flag])
        AC_COMPILE_IFELSE([AC_LANG_PROGRAM([])],
            [AC_MSG_RESULT([yes]); $1="$[]$1 $flag"], [AC_MSG_RESULT([no])])
    done
    CFLAGS=$anomalyd_saved_cflags
    AC_SUBST([$1])
])

# Adds -DHAVE_TARGET_CLONES=1 to VECTOR_CFLAGS if a function can be compiled for several processors, of
# which the program takes the right one when it starts (src/nn/vector.h).
AC_DEFUN([ANOMALYD_TARGET_CLONES], [
    AC_MSG_CHECKING([whether $CC compiles functions for several processors])
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[
        __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default"))) int twice(int x);
        int twice(int x) { return 2 * x; }]], [[return twice(0);]])],
        [AC_MSG_RESULT([yes]); VECTOR_CFLAGS="$VECTOR_CFLAGS -DHAVE_TARGET_CLONES=1"],
        [AC_MSG_RESULT([no])])
])
