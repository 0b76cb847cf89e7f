# Secrets and parameters, and a task that is given them.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

provider "aws" {
  default_tags {
    tags = { stack = "clients" }
  }
}

variable "value" {
  default   = "hush"
  sensitive = true
}

variable "note" {
  default = "first"
}

resource "aws_secretsmanager_secret" "word" {
  name                    = "clients/word"
  description             = var.note
  recovery_window_in_days = 0
  tags                    = { note = var.note }
}

resource "aws_secretsmanager_secret_version" "word" {
  secret_id     = aws_secretsmanager_secret.word.id
  secret_string = jsonencode({ user = "web", word = var.value })
}

resource "aws_ssm_parameter" "plain" {
  name        = "/clients/plain"
  type        = "String"
  value       = var.note
  description = "a plain one"
  tags        = { note = var.note }
}

resource "aws_ssm_parameter" "list" {
  name            = "/clients/list"
  type            = "StringList"
  value           = "a,b,${var.note}"
  allowed_pattern = "^[a-z,]+$"
}

resource "aws_ssm_parameter" "sealed" {
  name  = "/clients/sealed"
  type  = "SecureString"
  value = var.value
}

resource "aws_ecs_task_definition" "told" {
  family             = "clients-told"
  execution_role_arn = "arn:aws:iam::000000000000:role/execution"
  container_definitions = jsonencode([{
    name    = "main"
    image   = "busybox:1"
    memory  = 16
    command = ["sh", "-c", "test \"$WORD $PLAIN $SEALED\" = \"${var.value} ${var.note} ${var.value}\""]
    secrets = [
      { name = "WORD", valueFrom = "${aws_secretsmanager_secret.word.arn}:word::" },
      { name = "PLAIN", valueFrom = aws_ssm_parameter.plain.arn },
      { name = "SEALED", valueFrom = aws_ssm_parameter.sealed.name },
    ]
  }])
}

data "aws_secretsmanager_secret" "word" {
  name = aws_secretsmanager_secret.word.name
}

data "aws_secretsmanager_secret_version" "word" {
  secret_id  = aws_secretsmanager_secret.word.id
  depends_on = [aws_secretsmanager_secret_version.word]
}

data "aws_ssm_parameter" "sealed" {
  name = aws_ssm_parameter.sealed.name
}

data "aws_ssm_parameters_by_path" "all" {
  path       = "/clients"
  depends_on = [aws_ssm_parameter.plain, aws_ssm_parameter.list, aws_ssm_parameter.sealed]
}

output "definition" {
  value = aws_ecs_task_definition.told.arn
}

output "word" {
  value     = data.aws_secretsmanager_secret_version.word.secret_string
  sensitive = true
}

output "sealed" {
  value     = data.aws_ssm_parameter.sealed.value
  sensitive = true
}

output "names" {
  value = sort(nonsensitive(data.aws_ssm_parameters_by_path.all.names))
}
