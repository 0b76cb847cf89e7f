/* The operator's commands: one function per subcommand, argv[0] being the subcommand's name. They
 * return the exit status: 0, 1 after one line on stderr, 2 for wrong usage. */
#pragma once

int fl_cli_up(int argc, char **argv);
int fl_cli_down(int argc, char **argv);
int fl_cli_env(int argc, char **argv);
int fl_cli_status(int argc, char **argv);
int fl_cli_doctor(int argc, char **argv);
int fl_cli_token(int argc, char **argv);
int fl_cli_uninstall(int argc, char **argv);
int fl_cli_server(int argc, char **argv);
int fl_cli_agent(int argc, char **argv);
int fl_cli_explain(int argc, char **argv);
int fl_cli_sim(int argc, char **argv);
int fl_cli_backup(int argc, char **argv);
int fl_cli_restore(int argc, char **argv);
int fl_cli_store(int argc, char **argv);
