# Settings of dom0's interactive shell: the functions of the scenarios.
# shellcheck shell=sh
PS1='dom0# '
. /lab/common.sh
. /lab/lib.sh
for file in /lab/scenarios/*.sh; do
    . "$file"
done
