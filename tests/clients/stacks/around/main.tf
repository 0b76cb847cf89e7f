# What lies around services: a cluster, settings, a repository, log groups, and what is asked for.
# The provider is told all that it can be told of an endpoint, rather than by the environment.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}

variable "endpoint" {}
variable "access_key" {}
variable "secret_key" {}

variable "insights" {
  default = "disabled"
}

variable "days" {
  type    = number
  default = 7
}

variable "kept" {
  type    = number
  default = 5
}

provider "aws" {
  region                      = "us-east-1"
  access_key                  = var.access_key
  secret_key                  = var.secret_key
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_region_validation      = true

  endpoints {
    ecs  = var.endpoint
    ecr  = var.endpoint
    logs = var.endpoint
    sts  = var.endpoint
  }
}

resource "aws_ecs_cluster" "lab" {
  name = "clients-lab"
  tags = { days = tostring(var.days) }

  configuration {
    execute_command_configuration {
      logging = "OVERRIDE"
      log_configuration {
        cloud_watch_encryption_enabled = false
        cloud_watch_log_group_name     = aws_cloudwatch_log_group.lab.name
      }
    }
  }
  setting {
    name  = "containerInsights"
    value = var.insights
  }
}

resource "aws_cloudwatch_log_group" "lab" {
  name              = "/clients/lab"
  retention_in_days = var.days
  tags              = { days = tostring(var.days) }
}

resource "aws_cloudwatch_log_stream" "lab" {
  name           = "one"
  log_group_name = aws_cloudwatch_log_group.lab.name
}

resource "aws_ecr_repository" "lab" {
  name                 = "clients/lab"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = true
  tags                 = { days = tostring(var.days) }

  image_scanning_configuration {
    scan_on_push = false
  }
}

resource "aws_ecr_lifecycle_policy" "lab" {
  repository = aws_ecr_repository.lab.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "some are enough"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.kept }
      action       = { type = "expire" }
    }]
  })
}

resource "aws_ecs_account_setting_default" "insights" {
  name  = "containerInsights"
  value = var.insights
}

data "aws_caller_identity" "me" {}
data "aws_region" "here" {}
data "aws_ecs_clusters" "all" {}

data "aws_ecs_cluster" "lab" {
  cluster_name = aws_ecs_cluster.lab.name
}

data "aws_ecr_repository" "lab" {
  name = aws_ecr_repository.lab.name
}

data "aws_ecr_authorization_token" "token" {
  registry_id = "000000000000"
}

output "account" {
  value = data.aws_caller_identity.me.account_id
}

output "region" {
  value = data.aws_region.here.name
}

output "status" {
  value = data.aws_ecs_cluster.lab.status
}

output "push_to" {
  value = data.aws_ecr_repository.lab.repository_url
}

output "user" {
  value     = data.aws_ecr_authorization_token.token.user_name
  sensitive = true
}
